"""The same convolutional VAEs in PyTorch."""

import functools
from collections.abc import Callable
from typing import Any

from experiments.benchmark import steps
from experiments.benchmark.convolutional import ConvolutionalCase, VeryDeepCase

Case = ConvolutionalCase | VeryDeepCase


def epochs(case: Case, learning_rate: float) -> dict[str, Callable[[], None]]:
    """Makes epochs in eager mode, name -> epoch, with a thread for each core and with one."""
    import torch

    return {
        "PyTorch, eager": epoch(case, learning_rate, torch.get_num_threads()),
        "PyTorch, eager, one thread": epoch(case, learning_rate, 1),
    }


def epoch(case: Case, learning_rate: float, num_threads: int) -> Callable[[], None]:
    """Makes an epoch of images in memory, with Adam in one kernel and channels last."""
    import torch

    if isinstance(case, VeryDeepCase):
        from experiments.benchmark import very_deep_pytorch

        weights, loss_of = very_deep_pytorch.weights_and_loss(case)
    else:
        encoder, decoder = networks(case)
        weights = [*encoder.parameters(), *decoder.parameters()]
        loss_of = functools.partial(loss, encoder, decoder)
    adam = torch.optim.Adam(weights, lr=learning_rate, fused=True)
    pixels = torch.from_numpy(steps.noise(case)).permute(0, 3, 1, 2)

    def run():
        torch.set_num_threads(num_threads)
        order = torch.randperm(case.num_images)[: steps.num_steps(case) * case.batch_size]
        for rows in order.view(-1, case.batch_size):
            value = loss_of(pixels[rows])
            adam.zero_grad()
            value.backward()
            adam.step()

    return run


def networks(case: ConvolutionalCase) -> tuple[Any, Any]:
    """Encoder and decoder, with the layers of `networks.conv` and `networks.resnet`."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x):
            return x + self.second(torch.relu(self.first(torch.relu(x))))

    height, width, num_channels = case.event_shape
    scale = 2 ** len(case.channels)
    small = (case.channels[-1], height // scale, width // scale)
    encoder: list[Any] = []
    inputs = num_channels
    for outputs in case.channels:
        encoder.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
        encoder += [Block(outputs) for _ in range(case.num_blocks)]
        encoder.append(nn.ReLU())
        inputs = outputs
    encoder.append(nn.Flatten())
    inputs = small[0] * small[1] * small[2]
    for units in case.hidden:
        encoder += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    encoder.append(nn.Linear(inputs, 2 * case.latent_dim))
    decoder: list[Any] = []
    inputs = case.latent_dim
    for units in case.hidden[::-1]:
        decoder += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    decoder += [nn.Linear(inputs, small[0] * small[1] * small[2]), nn.Unflatten(1, small)]
    for inputs, outputs in zip(
        case.channels[::-1], (*case.channels[-2::-1], num_channels), strict=True
    ):
        decoder += [Block(inputs) for _ in range(case.num_blocks)]
        decoder += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
    made = (nn.Sequential(*encoder), nn.Sequential(*decoder))
    last = torch.channels_last
    return made[0].to(memory_format=last), made[1].to(memory_format=last)


def loss(encoder: Any, decoder: Any, pixels: Any) -> Any:
    """The negative ELBO in nats with its KL term in closed form. pixels: [B, C, H, W] uint8."""
    import torch
    from torch.nn import functional as F  # noqa: N812 (its usual name)

    x = torch.bernoulli(pixels.float() / 255)
    mean, log_std = encoder(x).chunk(2, dim=1)
    z = mean + log_std.exp() * torch.randn_like(mean)
    cross_entropy = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
    kl = 0.5 * (torch.exp(2 * log_std) + mean**2 - 1 - 2 * log_std).sum()
    return (cross_entropy + kl) / len(x)
