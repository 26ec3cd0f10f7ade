"""Measures bias, variance and signal-to-noise ratio of gradient estimators against K.

python -m experiments.gradients
python -m experiments.gradients --bounds=elbo,renyi:0.5 --estimators=pathwise,dreg,vimco
python -m experiments.gradients --run=runs/mnist

On the linear-Gaussian model of Rainforth et al. 2018, section 4, near its optimum; or on a finished
run, for its first test images. A table is printed; gradients.json and gradients.png hold the same.

Gradients are those of the bound averaged over --num_examples fixed examples; their noise is that of
the posterior samples. All estimators get the same noise. The reference of the bias is the exact
gradient where it is known (the ELBO of the linear-Gaussian model, which every bound is at K=1);
elsewhere the pathwise estimate, unbiased by construction, of other and twice as many keys, with its
standard error joined into t.
"""

import os
import time
from pathlib import Path

import jax
from absl import flags

from experiments import command, gradient_cases, gradient_report, gradient_steps
from experiments.command import BadInputError, Stopped, StopSignal
from experiments.gradient_cases import Case
from experiments.gradient_steps import Measurement, Step
from experiments.progress import Progress
from vae_jax.objectives import Bound, Estimator

FLAGS = flags.FLAGS
flags.DEFINE_string("run", None, "Folder of a finished run. Default: the linear-Gaussian model.")
flags.DEFINE_list(
    "bounds", ["iwae"], "Bounds: elbo, iwae, renyi:0.5, miwae:2, ciwae:0.5, tvo:5 or cubo:2."
)
flags.DEFINE_list(
    "estimators",
    None,
    "Estimators: pathwise, stl, dreg, score_function, vimco or concrete:0.5. Default: those that "
    "the posterior allows, but concrete.",
)
flags.DEFINE_list(
    "ks", None, "Numbers of samples, K. Default: 1,2,5,...,1000; of a --run 1,2,5,...,50."
)
flags.DEFINE_integer(
    "num_keys",
    None,
    "Gradients of each estimator at each K. Default: 10,000; of a --run 500.",
    lower_bound=2,
)
flags.DEFINE_integer(
    "most_draws",
    None,
    "At large K fewer keys, so that they draw at most so many samples of each example. Default: "
    "500,000; of a --run 10,000.",
    lower_bound=2,
)
flags.DEFINE_integer(
    "vimco_up_to", 100, "Largest K of vimco, whose work grows with K^2.", lower_bound=2
)
flags.DEFINE_integer(
    "num_examples",
    None,
    "Examples over which the bound is averaged. Default: 32; of a --run 4.",
    lower_bound=1,
)
flags.DEFINE_integer("fit_from", 10, "Smallest K of the fitted slopes.", lower_bound=1)
flags.DEFINE_string(
    "output",
    None,
    "Folder of gradients.json and gradients.png. Default: runs/gradients, or RUN/gradients.",
)
flags.declare_key_flag("seed")
flags.declare_key_flag("data_dir")
flags.register_validator(
    "ks",
    lambda ks: ks is None or all(k.isdecimal() and int(k) > 0 for k in ks),
    "numbers of samples are positive whole numbers with commas between them, such as 1,10,100",
)


def main(stop: StopSignal) -> None:
    gradient_cases.refuse_flags_of_training("seed", "data_dir")
    bounds = gradient_cases.named_bounds(FLAGS.bounds)
    estimators = FLAGS.estimators and gradient_cases.named_estimators(FLAGS.estimators)
    case_key, noise_key, reference_key = jax.random.split(jax.random.key(FLAGS.seed), 3)
    command.use_compile_cache()
    if FLAGS.run is None:
        case = gradient_cases.linear_gaussian(case_key, FLAGS.num_examples or 32)
    else:
        case = gradient_cases.from_run(FLAGS.run, FLAGS.num_examples or 4)
    steps = plan(case, bounds, estimators or gradient_cases.default_estimators(case))
    folder = output_folder()
    start = time.perf_counter()
    measurements = measure(case, steps, noise_key, reference_key, stop)
    result = gradient_report.Result(
        case=case.name,
        num_examples=len(case.x),
        seed=FLAGS.seed,
        fit_from=FLAGS.fit_from,
        seconds=time.perf_counter() - start,
        measurements=measurements,
    )
    gradient_report.write(folder, result)
    print(gradient_report.table(result))
    print(f"{folder / 'gradients.json'} has these numbers, gradients.png beside it the picture.")


def plan(case: Case, bounds: dict[str, Bound], estimators: dict[str, Estimator]) -> list[Step]:
    """What to measure; without what has no gradient, such as that of vimco at K=1, and says so.

    Raises:
      BadInputError: nothing is left of an estimator of a bound.
    """
    of_run = FLAGS.run is not None
    default = [1, 2, 5, 10, 20, 50] if of_run else [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    ks = sorted({int(k) for k in FLAGS.ks}) if FLAGS.ks else default
    num_keys = FLAGS.num_keys or (500 if of_run else 10_000)
    most_draws = FLAGS.most_draws or (10_000 if of_run else 500_000)
    steps = {
        (bound_name, k): Step(bound_name, bound, {}, k, min(num_keys, max(2, most_draws // k)))
        for bound_name, bound in bounds.items()
        for k in ks
    }
    for bound_name, bound in bounds.items():
        for name, estimator in estimators.items():
            left_out = {}  # reason -> the numbers of samples
            for k in ks:
                reason = gradient_cases.why_not(case, bound, estimator, k)
                if name == "vimco" and k > FLAGS.vimco_up_to:
                    reason = f"K is above --vimco_up_to={FLAGS.vimco_up_to}."
                if reason is None:
                    steps[bound_name, k].estimators[name] = estimator
                else:
                    left_out.setdefault(reason, []).append(k)
            for reason, without in left_out.items():
                message = f"{name} of {bound_name}, K={','.join(map(str, without))}: {reason}"
                if sum(map(len, left_out.values())) == len(ks):
                    raise BadInputError(message)
                print(f"Left out: {message}", flush=True)
    return [step for step in steps.values() if step.estimators]


def measure(
    case: Case, steps: list[Step], noise_key: jax.Array, reference_key: jax.Array, stop: StopSignal
) -> list[Measurement]:
    """Measures all steps, one after the other.

    Raises:
      Stopped: a signal asked for it.
    """
    measurements = []
    with Progress("Measuring", len(steps), 0, unit="step") as progress:
        for done, step in enumerate(steps):

            def count(share, done=done, step=step):
                if stop.requested:
                    raise Stopped("Stopped; nothing is written.")
                progress.update(done, f"{step.bound_name}, K={step.num_samples}, {share:.0%}")

            measurements += stop.wait_for(
                lambda step=step, count=count: gradient_steps.measure(
                    case, step, noise_key, reference_key, progress=count
                ),
                until="these gradients are computed",
            )
        progress.update(len(steps))
    return measurements


def output_folder() -> Path:
    """The folder of --output, made and found to be writable before the work begins.

    Raises:
      BadInputError: it is not.
    """
    default = Path(FLAGS.run).expanduser() / "gradients" if FLAGS.run else "runs/gradients"
    folder = Path(FLAGS.output or default).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise BadInputError(f"--output={folder} cannot be written ({reason}): name another folder.")
    return folder


if __name__ == "__main__":
    command.run(main)
