"""The same training in PyTorch, with as little Python as possible.

It has no moving average of the parameters and no clipping, and so a little less to do.
"""

import math
import shutil
from collections.abc import Callable
from itertools import pairwise

from experiments.benchmark.cases import NUM_PIXELS, Case
from vae_jax.errors import BadInputError

ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh"}  # names in torch.nn
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def require() -> None:
    """Raises a BadInputError if PyTorch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise BadInputError("--peers needs PyTorch: pip install torch.") from error


def epochs(case: Case, learning_rate: float) -> dict[str, Callable[[], None]]:
    """Makes epochs, name -> epoch: in eager mode and, with a C++ compiler, by torch.compile."""
    found = {
        "PyTorch, eager": epoch(case, learning_rate),
        "PyTorch, eager, one thread": epoch(case, learning_rate, num_threads=1),
    }
    if not (shutil.which("g++") or shutil.which("clang++")):
        print("torch.compile is left out: there is no C++ compiler.", flush=True)
        return found
    run = epoch(case, learning_rate, compiled=True)
    try:
        run()  # the first epoch compiles
    except Exception as error:  # any error of a compiler
        reason = (str(error).splitlines() or [""])[0][:200]
        print(f"torch.compile is left out: {type(error).__name__}: {reason}", flush=True)
        return found
    return {**found, "PyTorch, torch.compile": run}


def epoch(
    case: Case, learning_rate: float, *, compiled: bool = False, num_threads: int | None = None
) -> Callable[[], None]:
    """Makes an epoch of images in memory, with Adam in one kernel; None: a thread for each core."""
    import torch

    num_threads = num_threads or torch.get_num_threads()
    encoder, decoder = networks(case)
    weights = [*encoder.parameters(), *decoder.parameters()]
    adam = torch.optim.Adam(weights, lr=learning_rate, fused=True)
    pixels = torch.from_numpy(case.pixels().reshape(-1, NUM_PIXELS))
    loss_of = torch.compile(loss) if compiled else loss

    def run():
        torch.set_num_threads(num_threads)
        order = torch.randperm(case.num_images)[: case.num_steps * case.batch_size]
        for rows in order.view(-1, case.batch_size):
            value = loss_of(encoder, decoder, pixels[rows], case.num_samples)
            adam.zero_grad()
            value.backward()
            adam.step()

    return run


def networks(case: Case):
    """Encoder and decoder."""
    from torch import nn

    def mlp(*widths):
        layers = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), getattr(nn, ACTIVATIONS[case.activation])()]
        return nn.Sequential(*layers[:-1])

    return (
        mlp(NUM_PIXELS, *case.hidden, 2 * case.latent_dim),
        mlp(case.latent_dim, *reversed(case.hidden), NUM_PIXELS),
    )


def loss(encoder, decoder, pixels, num_samples: int):
    """The negative bound in nats: the ELBO with its KL term in closed form for K = 1, else IWAE.

    Args:
      encoder: images [B, 784] -> means and log standard deviations [B, 2 * latents].
      decoder: z [K, B, latents] -> logits [K, B, 784].
      pixels: [B, 784] uint8.
      num_samples: K.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812 (its usual name)

    x = torch.bernoulli(pixels.float() / 255)
    mean, log_std = encoder(x).chunk(2, dim=1)
    if num_samples == 1:
        z = mean + log_std.exp() * torch.randn_like(mean)
        cross_entropy = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        kl = 0.5 * (torch.exp(2 * log_std) + mean**2 - 1 - 2 * log_std).sum()
        return (cross_entropy + kl) / len(x)
    noise = torch.randn(num_samples, *mean.shape)
    z = mean + log_std.exp() * noise
    log_prior = -(0.5 * z**2 + _HALF_LOG_TWO_PI).sum(2)
    log_posterior = -(0.5 * noise**2 + log_std + _HALF_LOG_TWO_PI).sum(2)
    logits = decoder(z)
    log_likelihood = -F.binary_cross_entropy_with_logits(
        logits, x.expand_as(logits), reduction="none"
    ).sum(2)
    log_w = log_likelihood + log_prior - log_posterior
    return math.log(num_samples) - torch.logsumexp(log_w, dim=0).mean()
