"""How fast training is: an epoch of the 784-400-20 VAE at batch 128, beside PyTorch's.

python -m experiments.benchmark
python -m experiments.benchmark --peers
python -m experiments.benchmark --estimators

Epochs of images that lie in memory, drawn black and white anew in every step, with Adam. Rounds are
interleaved, so that a machine whose speed drifts slows all alike; what counts is the median and the
ratio of each round.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import command
from vae_jax import data, heads, mlp, objectives, training, vae
from vae_jax.models import Model
from vae_jax.objectives import Objective, bounds, estimators, maximise, split

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 5, "Timed epochs of each, after one that is not.", lower_bound=1)
flags.DEFINE_boolean("peers", False, "Also PyTorch eager, which must be installed.")
flags.DEFINE_boolean(
    "estimators",
    False,
    "Instead the gradient estimators of IWAE on the 784-200-200-50 VAE at batch 100, K=5 and 50.",
)

NUM_IMAGES, BATCH_SIZE, HIDDEN, LATENT_DIM, LEARNING_RATE = 60_000, 128, 400, 20, 1e-3

# The first is what the others are compared with.
ESTIMATORS = {
    "iwae": maximise(bounds.iwae),
    "iwae stl": maximise(bounds.iwae, estimators.sticking_the_landing),
    "iwae dreg": maximise(bounds.iwae, estimators.doubly_reparameterised),
    "iwae vimco": maximise(bounds.iwae, estimators.vimco),
    "miwae dreg": maximise(bounds.miwae(5), estimators.doubly_reparameterised),
    "piwae": split(bounds.iwae, bounds.miwae(5)),
}


def main(stop: command.StopSignal) -> None:
    del stop
    # The time of a step does not depend on what the images show.
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 28, 28, 1), dtype=np.uint8)
    if FLAGS.estimators:
        model = _model((200, 200), 50, jnp.tanh)
        for num_samples in (5, 50):
            images = pixels[: 30_000 // num_samples]
            print(f"K={num_samples}, {len(images)} images")
            epochs = {
                name: jax_epoch(images, model, objective, num_samples, batch_size=100)
                for name, objective in ESTIMATORS.items()
            }
            compare(epochs, len(images))
        return
    model = _model((HIDDEN,), LATENT_DIM, jax.nn.relu)
    epochs = {"vae_jax": jax_epoch(pixels, model, objectives.closed_form_elbo())}
    if FLAGS.peers:
        epochs["PyTorch eager"] = torch_epoch(pixels)
    compare(epochs, NUM_IMAGES)


def compare(epochs: dict[str, Callable[[], None]], num_images: int) -> None:
    """Times epochs in interleaved rounds, and prints their medians and ratios to the first."""
    seconds = {name: [] for name in epochs}
    for timed in range(FLAGS.rounds + 1):
        for name, run_epoch in epochs.items():
            start = time.perf_counter()
            run_epoch()
            if timed:  # the first compiles and warms up
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds))
    for name, values in seconds.items():
        ratios = np.array(values) / np.array(seconds[first])
        print(
            f"{name:14} {np.median(values):6.2f} s an epoch ({min(values):.2f} to "
            f"{max(values):.2f}), {num_images / np.median(values):7,.0f} images/s, "
            f"{np.median(ratios):.2f} times that of {first}",
            flush=True,
        )


def _model(hidden: tuple[int, ...], latent_dim: int, activation: Callable) -> Model:
    return vae(
        (28, 28, 1),
        latent_dim,
        encoder=mlp(hidden, activation),
        decoder=mlp(hidden, activation),
        likelihood=heads.bernoulli(),
    )


def jax_epoch(
    pixels: np.ndarray,
    model: Model,
    objective: Objective,
    num_samples: int = 1,
    batch_size: int = BATCH_SIZE,
) -> Callable[[], None]:
    """An epoch as experiments.mnist runs it, moving average of the parameters included."""
    trainer = training.make_trainer(
        model,
        objective,
        optax.adam(LEARNING_RATE),
        num_samples=num_samples,
        binarise=data.dynamic,
    )
    run_epoch = training.make_epoch(trainer, batch_size)
    on_device = jnp.asarray(pixels)
    state = trainer.init(jax.random.key(0), data.mean_example(pixels))

    def run():
        nonlocal state
        state, _ = jax.block_until_ready(run_epoch(state, on_device))

    return run


def torch_epoch(pixels: np.ndarray) -> Callable[[], None]:
    """The same in PyTorch's eager mode, with no more Python than it needs."""
    try:
        import torch
        from torch.nn import functional as F  # noqa: N812 (its usual name)
    except ImportError as error:
        raise command.BadInputError("--peers needs PyTorch: pip install torch.") from error
    encoder, decoder = (
        torch.nn.Sequential(
            torch.nn.Linear(inputs, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, outputs)
        )
        for inputs, outputs in ((784, 2 * LATENT_DIM), (LATENT_DIM, 784))
    )
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LEARNING_RATE)
    in_memory = torch.from_numpy(pixels.reshape(NUM_IMAGES, 784))

    def run():
        order = torch.randperm(NUM_IMAGES)
        for rows in order[: NUM_IMAGES // BATCH_SIZE * BATCH_SIZE].view(-1, BATCH_SIZE):
            x = torch.bernoulli(in_memory[rows].float() / 255)
            mean, log_std = encoder(x).chunk(2, dim=1)
            z = mean + log_std.exp() * torch.randn_like(mean)
            cross_entropy = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
            kl = 0.5 * (torch.exp(2 * log_std) + mean**2 - 1 - 2 * log_std).sum()
            loss = (cross_entropy + kl) / BATCH_SIZE
            adam.zero_grad()
            loss.backward()
            adam.step()

    return run


if __name__ == "__main__":
    command.run(main)
