"""Measures bias, variance and signal-to-noise ratio of gradient estimators against K.

python -m experiments.gradients
python -m experiments.gradients --bounds=elbo,renyi:0.5 --estimators=pathwise,dreg,vimco
python -m experiments.gradients --run=runs/mnist

The model is the linear-Gaussian one of Rainforth et al. 2018, section 4, near its optimum; or that
of a finished run, with its first test images. The command prints a table, and writes the same
numbers to gradients.json and gradients.png.

A gradient is that of the bound averaged over --num_examples fixed examples. Its noise comes from
the posterior samples, which are the same for all estimators. The bias is the distance from the
exact gradient where that is known (the ELBO of the linear-Gaussian model, which every bound is at
K=1). Elsewhere it is the distance from the mean of an unbiased estimator with as many other keys:
pathwise, or vimco for discrete latents. t is the distance in its standard errors. The
signal-to-noise ratio (SNR) is |expectation| / standard deviation of one estimate. Unbiased
estimators have the same expectation, which is taken from the most precise of them. Theory says how
the ratio grows with K when K is large.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import gradient_cases, gradient_report
from experiments.gradient_cases import PARTS, Case
from experiments.gradient_report import Row
from vae_jax.commands import command, flags
from vae_jax.diagnostics import gradients
from vae_jax.errors import BadInputError, DivergenceError, Stopped
from vae_jax.objectives import Bound, Estimator
from vae_jax.runs.files import output_folder
from vae_jax.runs.progress import Progress
from vae_jax.runs.stop import StopSignal

_ESTIMATORS = "pathwise, stl, dreg, score_function, vimco or concrete:0.5"


def define_flags() -> None:
    """Defines the flags of the command."""

    def define(name, kind, default, help, group="measurement", **known):
        flags.define_one(name, kind, default, help, group, first=True, **known)

    define("run", str, None, "Folder of a finished run. Default: the linear-Gaussian model.", "run")
    define(
        "output",
        str,
        None,
        "Folder of gradients.json and gradients.png. Default: runs/gradients, or RUN/gradients.",
        "run",
    )
    define(
        "bounds",
        str,
        "iwae",
        "Bounds: elbo, iwae, renyi:0.5, miwae:2, ciwae:0.5, tvo:5 or cubo:2, with commas.",
    )
    define(
        "estimators",
        str,
        None,
        f"Estimators: {_ESTIMATORS}, with commas. Default: those that the posterior allows, but "
        "concrete.",
    )
    define(
        "ks",
        tuple,
        None,
        "Numbers of samples, K. Default: 1,2,5,...,1000; of a --run 1,2,5,...,50.",
    )
    define(
        "num_keys", int, None, "Estimates of each gradient. Default: 500; of a --run 300.", low=2
    )
    define(
        "num_examples",
        int,
        None,
        "Examples over which the bound is averaged. Default: 8; of a --run 4.",
        low=1,
    )
    define(
        "fit_from",
        int,
        None,
        "Smallest K of the fitted slopes of the SNR. Default: that of the upper half.",
        low=1,
    )
    define("seed", int, 0, "Seed of all samples.", low=0, high=2**32 - 1)
    flags.define_moved()


# Bounds of the memory: numbers in the gradients and samples that are computed together, and in the
# samples of one estimate.
_NUMBERS_AT_ONCE, _MOST_NUMBERS = 10_000_000, 100_000_000
# Most parameters of a model for which gradients.json has the numbers of each parameter.
_FEW_PARAMETERS = 1000


class Step(NamedTuple):
    """A bound of K samples, and the estimators of its gradient to measure."""

    bound_name: str
    bound: Bound
    num_samples: int  # K
    estimators: dict[str, Estimator]

    def __str__(self):
        return f"{self.bound_name}, K={self.num_samples}"


def main(stop: StopSignal) -> None:
    path, num_examples = flags.value_of("run"), flags.value_of("num_examples")
    num_keys, seed = flags.value_of("num_keys"), flags.value_of("seed")
    bounds = gradient_cases.named_bounds(_names("bounds"))
    estimators = gradient_cases.named_estimators(_names("estimators"))
    if (ks := flags.value_of("ks")) == ():
        raise BadInputError("ks= must be positive whole numbers with commas, such as 1,10,100.")
    ks = sorted(set(ks or ()))
    case_key, noise_key = jax.random.split(jax.random.key(seed))
    command.use_compile_cache()
    if path is None:
        flags.refuse_moved()
        case = gradient_cases.linear_gaussian(case_key, num_examples or 8)
        ks, num_keys = ks or [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], num_keys or 500
    else:
        case = gradient_cases.of_run(flags.finished_run(path), num_examples or 4)
        ks, num_keys = ks or [1, 2, 5, 10, 20, 50], num_keys or 300
    if case.x.x.size * ks[-1] > _MOST_NUMBERS:
        raise BadInputError(
            f"K={ks[-1]} is too large for the memory with {len(case.x)} examples of "
            f"{case.x.x[0].size} dimensions: at most {_MOST_NUMBERS // case.x.x.size}."
        )
    estimators = estimators or gradient_cases.named_estimators(case.default_estimators())
    steps = plan(case, bounds, ks, estimators)
    default = Path(path) / "gradients" if path else "runs/gradients"
    folder = output_folder(flags.value_of("output") or default)
    start = time.perf_counter()
    rows = []
    with Progress("Measuring", len(steps), 0, unit="step") as progress:
        for done, step in enumerate(steps):

            def count(keys, step=step, done=done):
                if stop.requested:
                    raise Stopped("Stopped; nothing is written.")
                progress.update(done, f"{step}, {keys / num_keys:.0%}")

            rows += stop.wait_for(
                lambda step=step, count=count: measure(case, step, num_keys, noise_key, count),
                until="these gradients are computed",
            )
        progress.update(len(steps))
    fit_from = flags.value_of("fit_from") or ks[len(ks) // 2]
    result = gradient_report.Result(case.name, len(case.x), num_keys, seed, fit_from, rows)
    gradient_report.write(folder, result)
    print(gradient_report.table(result))
    print(f"{folder / 'gradients.json'} has these numbers, gradients.png beside it the picture.")
    print(f"Measured in {time.perf_counter() - start:.0f} s.")


def _names(flag: str) -> list[str]:
    """The names in the list of a flag."""
    text = flags.value_of(flag)
    return [] if text is None else text.split(",")


def plan(
    case: Case, bounds: dict[str, Bound], ks: list[int], estimators: dict[str, Estimator]
) -> list[Step]:
    """Plans the steps. It leaves out what has no gradient, such as vimco at K=1, and says so.

    Raises:
      BadInputError: an estimator has no gradient for any K of a bound.
    """
    steps = [Step(name, bound, k, {}) for name, bound in bounds.items() for k in ks]
    left_out = {}  # (bound, estimator) -> reason -> numbers of samples that are left out
    for step in steps:
        for name, estimator in estimators.items():
            try:
                gradient = _gradient(case, step, estimator)
                jax.eval_shape(gradient, case.params, jax.random.key(0))
                step.estimators[name] = estimator
            except TypeError as error:
                raise BadInputError(f"estimators={name} of the {case.name}: {error}") from error
            except ValueError as error:
                reasons = left_out.setdefault((step.bound_name, name), {})
                reasons.setdefault(str(error), []).append(str(step.num_samples))
    for (bound_name, name), reasons in left_out.items():
        for reason, without in reasons.items():
            message = f"{name} of {bound_name}, K={','.join(without)}: {reason}"
            if sum(map(len, reasons.values())) == len(ks):
                raise BadInputError(f"There is no gradient by {message}")
            print(f"Left out: {message}", flush=True)
    return [step for step in steps if step.estimators]


def measure(
    case: Case, step: Step, num_keys: int, key: jax.Array, progress: Callable[[int], object]
) -> list[Row]:
    """Measures the estimators of a step in encoder and decoder, all with the same noise.

    Args:
      case: model and examples of the gradient.
      step: bound, number of samples and estimators to measure.
      num_keys: number of estimates of each gradient, and of the reference.
      key: typed PRNG key, the same for all steps.
      progress: function that is called with the number of keys done.

    Raises:
      DivergenceError: a gradient is not finite.
    """
    exact = case.exact_gradient(step.bound_name, step.num_samples)
    reference, estimator = case.reference(step.num_samples)
    measured = {name: _gradient(case, step, each) for name, each in step.estimators.items()}
    compared = [] if exact is not None else [_gradient(case, step, estimator)]

    def estimate_all(params, key):
        noise_key, reference_key = jax.random.split(key)
        return (
            {name: gradient(params, noise_key) for name, gradient in measured.items()},
            [gradient(params, reference_key) for gradient in compared],
        )

    numbers = case.num_parameters * (len(measured) + 1) + case.x.x.size * step.num_samples
    both = gradients.gradient_moments(
        estimate_all,
        case.params,
        jax.random.fold_in(key, step.num_samples),
        num_keys,
        keys_at_once=max(1, _NUMBERS_AT_ONCE // numbers),
        progress=progress,
    )
    found = {name: both.select(lambda pair, name=name: pair[0][name]) for name in measured}
    for name, moments in found.items():
        if not math.isfinite(_squared_error(moments)):
            raise DivergenceError(f"The gradient of {step} by {name} is not finite.")
    if exact is None:
        expected = both.select(lambda pair: pair[1][0])
    else:
        reference, expected = "exact", gradients.exactly(exact)
    unbiased = {reference: expected} | {
        name: moments
        for name, moments in found.items()
        if gradient_cases.is_unbiased("encoder", step.bound_name, name)
    }
    best = min(unbiased, key=lambda name: _squared_error(unbiased[name].select(PARTS["encoder"])))
    rows = []
    for part, choose in PARTS.items():
        of_part = {name: moments.select(choose) for name, moments in found.items()}
        compared_with, truth = expected.select(choose), unbiased[best].select(choose)
        signals = {
            name: truth if gradient_cases.is_unbiased(part, step.bound_name, name) else moments
            for name, moments in of_part.items()
        }
        qualities = {
            name: gradients.quality(moments, compared_with, truth, signals[name])
            for name, moments in of_part.items()
        }
        pathwise = qualities.get("pathwise")
        for name, moments in of_part.items():
            parameters = {
                "bias": jax.tree.map(np.subtract, moments.mean, compared_with.mean),
                "t": gradients.t_statistics(moments, compared_with),
                "variance": moments.variance,
                "signal_to_noise": gradients.signal_to_noise(moments, signals[name]),
            }
            rows.append(
                Row(
                    part=part,
                    bound=step.bound_name,
                    estimator=name,
                    num_samples=step.num_samples,
                    reference=reference,
                    known_best_by=best,
                    quality=qualities[name],
                    variance_ratio=(
                        qualities[name].variance / pathwise.variance if pathwise else math.nan
                    ),
                    parameters=parameters if case.num_parameters <= _FEW_PARAMETERS else {},
                )
            )
    return rows


def _gradient(case: Case, step: Step, estimator: Estimator) -> gradients.GradientFn:
    return gradients.bound_gradient(case.model, step.bound, estimator, case.x, step.num_samples)


def _squared_error(moments: gradients.GradientMoments) -> float:
    return sum(float(np.sum(leaf)) for leaf in jax.tree.leaves(moments.squared_error))


if __name__ == "__main__":
    define_flags()
    command.run(main, about=__doc__)
