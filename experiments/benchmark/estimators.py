"""The relative costs of the gradient estimators of IWAE."""

import numpy as np

from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import interleaved, ratios
from experiments.benchmark.training_step import compiled_epoch
from vae_jax.objectives import bounds, estimators, maximise, split

# The others are compared with the first.
OBJECTIVES = {
    "iwae": maximise(bounds.iwae),
    "iwae stl": maximise(bounds.iwae, estimators.sticking_the_landing),
    "iwae dreg": maximise(bounds.iwae, estimators.doubly_reparameterised),
    "iwae vimco": maximise(bounds.iwae, estimators.vimco),
    "miwae dreg": maximise(bounds.miwae(5), estimators.doubly_reparameterised),
    "piwae": split(bounds.iwae, bounds.miwae(5)),
}


def compare(rounds: int) -> None:
    """Times epochs with K = 5 and 50, and prints medians and ratios to the first."""
    for num_samples in (5, 50):
        case = Case((200, 200), 50, "tanh", 100, 30_000 // num_samples, num_samples)
        print(f"K={num_samples}, {case.num_images} images", flush=True)
        epochs = {name: compiled_epoch(case, each).run for name, each in OBJECTIVES.items()}
        seconds = interleaved(epochs, rounds)
        first = next(iter(seconds))
        for name, values in seconds.items():
            print(
                f"{name:14} {np.median(values):6.2f} s an epoch ({min(values):.2f} to "
                f"{max(values):.2f}), {case.num_images / np.median(values):7,.0f} images/s, "
                f"{np.median(ratios(values, seconds[first])):.2f} times that of {first}",
                flush=True,
            )
