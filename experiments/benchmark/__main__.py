"""Times training, evaluation and the start, beside their lower bounds and beside PyTorch.

python -m experiments.benchmark
python -m experiments.benchmark --peers
python -m experiments.benchmark --only=training,evaluation --rounds=9
python -m experiments.benchmark --estimators
python -m experiments.benchmark --cost
python -m experiments.benchmark --plan

Training is that of experiments.mnist, on images in memory that are binarised anew in every step.
Its lower bound is the time of the matrix products of a step alone, on the same machine in the same
minute: rounds are interleaved, so that a machine whose speed drifts slows all of them alike. The
results are medians over the rounds, of times and of ratios within a round. The command prints a
table, and writes it to benchmark.json, benchmark.md and benchmark.png in --output.
"""

import os
import resource
from collections.abc import Callable
from importlib.metadata import version

import jax
from absl import flags

from experiments.benchmark import (
    convolutional,
    cost,
    devices,
    estimators,
    evaluation,
    lanes,
    latents,
    plan,
    pytorch,
    report,
    sampling,
    start,
    training_step,
)
from experiments.benchmark.rounds import Row
from vae_jax.commands import command
from vae_jax.errors import BadInputError
from vae_jax.runs.files import output_folder
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions

FLAGS = flags.FLAGS
flags.DEFINE_integer(
    "rounds", 5, "Number of timed rounds; one that is not timed comes before them.", lower_bound=1
)
flags.DEFINE_boolean(
    "peers",
    False,
    "Times training by PyTorch, too, which must be installed: in eager mode and, where there is a "
    "C++ compiler, by torch.compile.",
)
flags.DEFINE_boolean(
    "estimators",
    False,
    "Times the gradient estimators of IWAE instead, on the 784-200-200-50 VAE at batch 100 with "
    "K=5 and 50, and prints the times.",
)
flags.DEFINE_boolean(
    "cost",
    False,
    "Measures instead how time and memory of the 784-200-200-50 VAE grow with the numbers of "
    "images, of images in a batch, of samples and of lanes: cost.json, cost.md and cost.png.",
)
flags.DEFINE_boolean(
    "plan",
    False,
    "Counts and compiles instead what a very deep VAE of CIFAR-10 with 45 layers would take on "
    "accelerators, and prints it: see docs/hierarchies.md.",
)
flags.DEFINE_string("output", "runs/benchmark", "Folder of the files that are written.")

# name of the part -> function that measures it, given the number of rounds
PARTS: dict[str, Callable[[int], list[Row]]] = {
    training_step.PART: lambda rounds: training_step.measure(rounds, FLAGS.peers),
    convolutional.PART: lambda rounds: convolutional.measure(rounds, FLAGS.peers),
    latents.PART: latents.measure,
    sampling.PART: sampling.measure,
    evaluation.PART: evaluation.measure,
    lanes.PART: lanes.measure,
    devices.PART: devices.measure,
    start.PART: start.measure,
}
flags.DEFINE_list("only", list(PARTS), f"Parts to measure: any of {', '.join(PARTS)}.")


def main(stop: StopSignal) -> None:
    del stop
    parts = chosen_parts()
    if FLAGS.estimators:
        estimators.compare(FLAGS.rounds)
        return
    if FLAGS.plan:
        print(plan.pieces())
        return
    folder = output_folder(FLAGS.output)
    command.use_host_devices(max(lanes.NUM_LANES))
    load = os.getloadavg()[0]
    if load > 0.5:
        print(
            f"Other processes use this machine (load {load:.1f}): times are longer, ratios less "
            "certain, and PyTorch, whose threads spin while they wait, may be many times slower."
        )
    # Compiling is timed, so there is no cache of programs.
    jax.config.update("jax_compilation_cache_dir", None)
    if FLAGS.cost:
        print(f"{folder} has {', '.join(cost.write(folder, cost.measure(FLAGS.rounds)))}.")
        return
    rows = []
    for name in parts:
        print(f"Measuring {name} ...", flush=True)
        rows += PARTS[name](FLAGS.rounds)
    peak = start.mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    about = {
        "versions": versions() | ({"torch": version("torch")} if FLAGS.peers else {}),
        "device": str(jax.devices()[0]),
        "num_cores": os.cpu_count(),
        "load_before": load,  # mean number of processes that wanted a core in the last minute
        "rounds": FLAGS.rounds,
        "peak_memory_mebibytes": peak,
    }
    files = report.write(folder, rows, about)
    print(report.table(rows))
    print(f"{about['device']}, {about['num_cores']} cores, peak memory of all {peak:,.0f} MiB.")
    print(f"{folder} has the same: {', '.join(files)}.")


def chosen_parts() -> list[str]:
    """The parts to run.

    Raises:
      BadInputError: a part is unknown, flags contradict each other, or PyTorch is missing.
    """
    if not FLAGS.only:
        raise BadInputError(f"--only= names no part; there are {', '.join(PARTS)}.")
    for name in FLAGS.only:
        if name not in PARTS:
            raise BadInputError(f"--only={name} is unknown; there are {', '.join(PARTS)}.")
    instead = ("estimators", "cost", "plan")
    for name in instead:
        if FLAGS[name].value and (FLAGS.peers or FLAGS["only"].present):
            raise BadInputError(f"--{name} goes without --peers and --only.")
    if sum(FLAGS[name].value for name in instead) > 1:
        raise BadInputError("--estimators, --cost and --plan are several commands.")
    with_peers = (training_step.PART, convolutional.PART)
    if FLAGS.peers and not set(with_peers) & set(FLAGS.only):
        raise BadInputError(
            f"--peers is of the parts {' and '.join(with_peers)}: name one of them in --only."
        )
    if FLAGS.peers:
        pytorch.require()
    return [name for name in PARTS if name in FLAGS.only]


if __name__ == "__main__":
    command.run(main)
