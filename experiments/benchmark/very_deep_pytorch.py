"""The same very deep VAE in PyTorch."""

from collections.abc import Callable
from typing import Any

from experiments.benchmark.convolutional import VeryDeepCase


def weights_and_loss(case: VeryDeepCase) -> tuple[list[Any], Callable[[Any], Any]]:
    """The weights, and the negative ELBO in nats of pixels [B, C, H, W] uint8.

    The layers are those of `networks.top_down`, and the loss has its KL terms in closed form.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 (its usual name)

    width, middle = case.width, case.width // case.bottleneck
    height, _, num_channels = case.event_shape
    sizes, channels = case.layer_sizes, case.layer_channels
    levels = list(dict.fromkeys(sizes))

    def block(inputs: int, outputs: int) -> Any:
        layers: list[Any] = []
        for kernel, first, second in (
            (1, inputs, middle),
            (3, middle, middle),
            (3, middle, middle),
            (1, middle, outputs),
        ):
            layers += [nn.ReLU(), nn.Conv2d(first, second, kernel, padding=kernel // 2)]
        return nn.Sequential(*layers)

    stem = nn.Conv2d(num_channels, width, 3, padding=1)
    of_levels = nn.ModuleList([block(width, width) for _ in levels])
    of_q = nn.ModuleList([block(2 * width, 2 * number) for number in channels])
    of_p = nn.ModuleList([block(width, 2 * number + width) for number in channels])
    of_z = nn.ModuleList([nn.Conv2d(number, width, 1) for number in channels])
    behind = nn.ModuleList([block(width, width) for _ in channels])
    last = nn.Conv2d(width, num_channels, 1)
    start = nn.Parameter(torch.zeros(1, width, sizes[-1], sizes[-1]))
    modules = nn.ModuleList([stem, of_levels, of_q, of_p, of_z, behind, last])
    modules = modules.to(memory_format=torch.channels_last)

    def loss(pixels: Any) -> Any:
        x = torch.bernoulli(pixels.float() / 255)
        h, below, features = stem(x), height, {}
        for size, module in zip(levels, of_levels, strict=True):
            if size < below:
                h = F.avg_pool2d(h, below // size)
            h = h + module(h)
            features[size], below = h, size
        h, kl = start.expand(len(x), -1, -1, -1), 0.0
        for layer in reversed(range(len(sizes))):
            number = channels[layer]
            both = torch.cat([h, features[sizes[layer]]], dim=1)
            mean, log_std = of_q[layer](both).chunk(2, dim=1)
            of_prior, added = of_p[layer](h).split([2 * number, width], dim=1)
            prior_mean, prior_log_std = of_prior.chunk(2, dim=1)
            z = mean + log_std.exp() * torch.randn_like(mean)
            distance = (mean - prior_mean) ** 2 + torch.exp(2 * log_std)
            terms = prior_log_std - log_std + 0.5 * distance * torch.exp(-2 * prior_log_std) - 0.5
            kl = kl + terms.sum()
            h = h + added + of_z[layer](z)
            h = h + behind[layer](h)
            if layer > 0 and sizes[layer - 1] > sizes[layer]:
                h = F.interpolate(h, scale_factor=sizes[layer - 1] // sizes[layer])
        cross_entropy = F.binary_cross_entropy_with_logits(last(h), x, reduction="sum")
        return (cross_entropy + kl) / len(x)

    return [*modules.parameters(), start], loss
