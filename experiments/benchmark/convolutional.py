"""Part "convolutional": the time of a training step of convolutional and very deep VAEs.

The lower bound is the time of the matrix products of a step alone (`steps.products`), which are all
those that the gradient of the loss consists of, with the shapes that they have in it.
"""

from typing import NamedTuple

from jax import nn

from experiments.benchmark import matrix_products, steps, training_step
from experiments.benchmark.rounds import Row, interleaved, rows_of
from vae_jax.models import Model, vae, very_deep
from vae_jax.networks import Architecture, conv, resnet

PART = "convolutional"


class ConvolutionalCase(NamedTuple):
    """A convolutional VAE with a Bernoulli likelihood, and how it is trained."""

    name: str
    event_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    latent_dim: int
    num_blocks: int  # residual blocks of a stage; 0 for strided convolutions alone
    batch_size: int
    num_images: int  # images of a timed epoch

    def __str__(self):
        return f"{self.name}, batch {self.batch_size}"

    def model(self) -> Model:
        """The VAE."""
        network: Architecture = conv(self.channels, self.hidden)
        if self.num_blocks:
            network = resnet(self.channels, self.hidden, num_blocks=self.num_blocks)
        return vae(self.event_shape, self.latent_dim, encoder=network, decoder=network)


class VeryDeepCase(NamedTuple):
    """A very deep VAE of grey images with a Bernoulli likelihood, and how it is trained."""

    name: str
    event_shape: tuple[int, int, int]
    layer_sizes: tuple[int, ...]
    layer_channels: tuple[int, ...]
    width: int
    bottleneck: int
    batch_size: int
    num_images: int  # images of a timed epoch

    def __str__(self):
        return f"{self.name}, batch {self.batch_size}"

    def model(self) -> Model:
        """The VAE, with one residual block of the encoder at each size."""
        networks = {"width": self.width, "bottleneck": self.bottleneck, "num_blocks": 1}
        return very_deep(
            self.event_shape, self.layer_sizes, self.layer_channels, activation=nn.relu, **networks
        )


CASES: tuple[ConvolutionalCase | VeryDeepCase, ...] = (
    ConvolutionalCase("conv 32-64, 28x28x1", (28, 28, 1), (32, 64), (256,), 40, 0, 100, 1_000),
    ConvolutionalCase("resnet 3 x 64, 32x32x3", (32, 32, 3), (64,) * 3, (256,), 40, 1, 64, 192),
    VeryDeepCase(
        *(
            "very deep, 6 layers of width 32, 28x28x1",
            (28, 28, 1),
            (28, 28, 14, 14, 7, 7),
            (4,) * 6,
        ),
        *(32, 2, 50, 150),
    ),
)


def measure(rounds: int, peers: bool) -> list[Row]:
    """Measures all cases: a step, its matrix products alone, PyTorch if `peers`."""
    rows = []
    for case in CASES:
        print(f"  {case}", flush=True)
        runs = {matrix_products.NAME: steps.products(case), "vae_jax": steps.epoch(case)}
        if peers:
            from experiments.benchmark import convolutional_pytorch

            runs |= convolutional_pytorch.epochs(case, training_step.LEARNING_RATE)
        rows += rows_of(
            part=PART,
            case=str(case),
            unit="ms/step",
            seconds=interleaved(runs, rounds),
            units=steps.num_steps(case),
            images=case.batch_size,
            reference=matrix_products.NAME,
        )
    return rows
