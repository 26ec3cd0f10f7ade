"""The timed cases: four trainings and an evaluation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import heads, mlp, vae
from vae_jax.models import Model
from vae_jax.objectives import Objective, bounds, closed_form_elbo, maximise

SIDE = 28  # height and width of an image, in pixels
NUM_PIXELS = SIDE * SIDE
ACTIVATIONS: dict[str, Callable] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


class Case(NamedTuple):
    """A VAE, and how it is trained."""

    hidden: tuple[int, ...]  # widths of the encoder; the decoder mirrors them
    latent_dim: int
    activation: str  # of ACTIVATIONS
    batch_size: int  # B
    num_images: int  # images of a timed epoch, which takes about half a second
    num_samples: int = 1  # K: the ELBO with its KL term in closed form for 1, IWAE for more

    def __str__(self):
        iwae = f"IWAE K={self.num_samples}, " if self.num_samples > 1 else ""
        return f"{iwae}{self.network}, batch {self.batch_size}"

    @property
    def network(self) -> str:
        """The widths, such as 784-400-20."""
        return "-".join(map(str, (NUM_PIXELS, *self.hidden, self.latent_dim)))

    @property
    def num_steps(self) -> int:
        """The number of steps in a timed epoch."""
        return self.num_images // self.batch_size

    def model(self) -> Model:
        """The VAE."""
        network = mlp(self.hidden, ACTIVATIONS[self.activation])
        return vae(
            (SIDE, SIDE, 1),
            self.latent_dim,
            encoder=network,
            decoder=network,
            likelihood=heads.bernoulli(),
        )

    def objective(self) -> Objective:
        """What training minimises."""
        return closed_form_elbo() if self.num_samples == 1 else maximise(bounds.iwae)

    def pixels(self) -> np.ndarray:
        """Noise, [num_images, 28, 28, 1] uint8. The times do not depend on what the images show."""
        shape = (self.num_images, SIDE, SIDE, 1)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


CASES = (
    Case((400,), 20, "relu", batch_size=128, num_images=12_800),
    Case((200, 200), 50, "tanh", batch_size=20, num_images=8_000),
    Case((200, 200), 50, "tanh", batch_size=100, num_images=20_000),
    Case((200, 200), 50, "tanh", batch_size=100, num_images=1_000, num_samples=50),
)
DIVIDED = (CASES[0], CASES[0]._replace(batch_size=1280, num_images=25_600))
SWEPT = (CASES[1]._replace(num_images=2_000), CASES[2]._replace(num_images=4_000))
# Importance sampling with K = num_samples; the batch is a chunk of the evaluation.
EVALUATION = Case((200, 200), 50, "tanh", batch_size=40, num_images=40, num_samples=5000)
# Points of the cost model.
COST_IMAGES = (5_000, 10_000, 20_000, 40_000)
COST_BATCHES = (20, 50, 100, 200, 400, 800)
COST_SAMPLES = (1, 2, 5, 10, 20, 50)
COST_LANES = (4, 8, 16, 32)  # at least two lanes for each of two cores; one lane is another program
