"""Part "latents": what richer priors and posteriors add to the time of a training step.

The additional time is that of the step less that of the plain step, in the same round, and its
lower bound the additional matrix products: those of the one gradient less those of the other.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark import matrix_products, steps
from experiments.benchmark.cases import SIDE
from experiments.benchmark.rounds import Row, interleaved, ratios, rows_of
from vae_jax.models import Model, flows, heads, latents, priors, vae
from vae_jax.networks import gated_mlp

PART = "latents"
LATENT_DIM, HIDDEN = 40, (300, 300)


class LatentCase(NamedTuple):
    """The VAE of mnist.cfg with another prior or posterior."""

    name: str
    options: dict[str, Any]  # arguments of `vae`
    batch_size: int = 100
    num_images: int = 4_000  # images of a timed epoch
    event_shape: tuple[int, int, int] = (SIDE, SIDE, 1)

    def __str__(self):
        return f"{self.name}, batch {self.batch_size}"

    def model(self) -> Model:
        """The VAE."""
        encoder, decoder = gated_mlp(HIDDEN), gated_mlp(HIDDEN[::-1])
        return vae(self.event_shape, LATENT_DIM, encoder=encoder, decoder=decoder, **self.options)


PLAIN = LatentCase("plain, 784-300-300-40 gated", {})
_PSEUDO_INPUTS: Any = np.full((500, *PLAIN.event_shape), 0.5, np.float32)  # of NumPy: JAX is idle
CASES = (
    LatentCase(
        "VampPrior of 500",
        {"prior": priors.vamp(_PSEUDO_INPUTS, bounds=(0.0, 1.0))},
    ),
    LatentCase(
        "IAF of 2",
        {"latents": latents.normal(heads.flow(flows.inverse_autoregressive(2)))},
    ),
)


def measure(rounds: int) -> list[Row]:
    """Measures the plain step, and each case with what it adds to it."""
    rows = []
    for case in CASES:
        print(f"  {case}", flush=True)
        plain = PLAIN._replace(batch_size=case.batch_size, num_images=case.num_images)
        seconds = interleaved(
            {
                matrix_products.NAME: steps.products(case),
                "vae_jax": steps.epoch(case),
                "plain products": steps.products(plain),
                "plain step": steps.epoch(plain),
            },
            rounds,
        )
        rows += rows_of(
            part=PART,
            case=str(case),
            unit="ms/step",
            seconds=seconds,
            units=steps.num_steps(case),
            images=case.batch_size,
            reference=matrix_products.NAME,
        )
        rows.append(_added(case, seconds))
    return rows


def _added(case: LatentCase, seconds: dict[str, list[float]]) -> Row:
    """The additional time, and its ratio to the additional products."""

    def less(name, plain):
        return [a - b for a, b in zip(seconds[name], seconds[plain], strict=True)]

    times, products = less("vae_jax", "plain step"), less(matrix_products.NAME, "plain products")
    values = [1e3 * value / steps.num_steps(case) for value in times]
    return Row(
        PART, str(case), "added to the plain step", "ms/step", values, ratios(times, products)
    )
