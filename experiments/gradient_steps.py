"""One step of experiments.gradients: all estimators of one bound of K samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.gradient_cases import Case
from vae_jax.diagnostics import gradients
from vae_jax.diagnostics.gradients import GradientMoments, GradientQuality
from vae_jax.objectives import Bound, Estimator, estimators

# Times as many keys as the estimators that are compared with it.
_REFERENCE_KEYS = 2
# What bounds the memory: numbers in the gradients, and in the samples, of one chunk of keys.
_GRADIENT_NUMBERS, _SAMPLE_NUMBERS = 30_000_000, 5_000_000

PARTS: dict[str, Callable[[Any], Any]] = {
    "encoder": lambda tree: tree["encoder"],
    "decoder": lambda tree: {name: part for name, part in tree.items() if name != "encoder"},
}


class Step(NamedTuple):
    """A bound of K samples, and the estimators of its gradient that are measured."""

    bound_name: str
    bound: Bound
    estimators: dict[str, Estimator]
    num_samples: int  # K
    num_keys: int


class Measurement(NamedTuple):
    """How good one estimator is."""

    bound: str
    estimator: str
    num_samples: int  # K
    num_keys: int
    reference: str  # what it is compared with: "exact", or the name of an unbiased estimator
    reference_keys: int  # of that one, other keys; 0 if exact
    quality: dict[str, GradientQuality]  # of encoder and decoder
    moments: GradientMoments
    reference_moments: GradientMoments


def measure(
    case: Case,
    step: Step,
    noise_key: jax.Array,
    reference_key: jax.Array,
    progress: Callable[[float], object] = lambda share: None,
) -> list[Measurement]:
    """Measures the estimators of a step, all by the same noise, whose draws take most of the time.

    Args:
      case: what the gradient is of.
      step: what to measure.
      noise_key: typed PRNG key.
      reference_key: typed PRNG key, for what they are compared with.
      progress: called with the share of the keys that is done, at most 1.
    """
    reference_keys = 0 if _is_exact(case, step) else _REFERENCE_KEYS * step.num_keys
    all_keys = step.num_keys + reference_keys

    def moments(chosen, num_keys, key, keys_before=0):
        parts = {
            name: gradients.bound_gradient(
                case.model, step.bound, estimator, case.x, step.num_samples
            )
            for name, estimator in chosen.items()
        }
        found = gradients.gradient_moments(
            lambda params, key: {name: part(params, key) for name, part in parts.items()},
            case.params,
            jax.random.fold_in(key, step.num_samples),
            num_keys,
            keys_at_once=_keys_at_once(case, step.num_samples, len(chosen)),
            progress=lambda keys_done: progress((keys_before + keys_done) / all_keys),
        )
        return {name: found.select(lambda tree, name=name: tree[name]) for name in chosen}

    measured = moments(step.estimators, step.num_keys, noise_key)
    if not reference_keys:
        compared, reference = "exact", gradients.exactly(_exact_gradient(case))
    else:
        compared, estimator = _unbiased(case, step.num_samples)
        found = moments({compared: estimator}, reference_keys, reference_key, step.num_keys)
        reference = found[compared]
    return [
        Measurement(
            bound=step.bound_name,
            estimator=name,
            num_samples=step.num_samples,
            num_keys=step.num_keys,
            reference=compared,
            reference_keys=reference_keys,
            quality={
                part: gradients.quality(found.select(choose), reference.select(choose))
                for part, choose in PARTS.items()
            },
            moments=found,
            reference_moments=reference,
        )
        for name, found in measured.items()
    ]


def _is_exact(case: Case, step: Step) -> bool:
    """Whether the exact gradient is known: of one sample every bound is the ELBO."""
    return case.exact_elbo is not None and (step.bound_name == "elbo" or step.num_samples == 1)


def _exact_gradient(case: Case) -> Any:
    over_examples = jax.vmap(case.exact_elbo, (None, 0))
    return jax.grad(lambda params: jnp.mean(over_examples(params, case.x)))(case.params)


def _unbiased(case: Case, num_samples: int) -> tuple[str, Estimator]:
    if case.is_reparameterised:
        return "pathwise", estimators.pathwise
    if num_samples > 1:
        return "vimco", estimators.vimco
    return "score_function", estimators.score_function


def _keys_at_once(case: Case, num_samples: int, num_estimators: int) -> int:
    of_gradients = _GRADIENT_NUMBERS // (case.num_parameters * num_estimators)
    of_samples = _SAMPLE_NUMBERS // (case.x.size * num_samples)
    return max(1, min(of_gradients, of_samples))
