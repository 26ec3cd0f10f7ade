"""Trains and evaluates VAEs on images: one, or many side by side.

python -m experiments.mnist --flagfile=experiments/configs/mnist.cfg
python -m experiments.mnist --dataset=fashion_mnist --latent_dim=20 --workdir=runs/fashion
python -m experiments.mnist --coordinator=HOST:1234 --num_processes=2 --process_id=0  # and 1
python -m experiments.mnist --num_seeds=3 --sweep=objective=beta --sweep=beta=1,2,4 --workdir=runs/b

The same command again resumes what was interrupted. The run folder (--workdir) gets flags.cfg,
metrics.jsonl, checkpoints/, figures/ and summary.json; that of a sweep a folder like it for each
run, sweep.json, sweep.md and figures/.
"""

from absl import flags

from experiments import command, grid, hosts, objectives, runs, settings, summary, sweep
from experiments.command import StopSignal
from experiments.images import load_images
from experiments.run_folder import RunFolder
from experiments.runs import Run
from vae_jax.errors import DivergenceError

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(grid)
hosts.define_flags()
flags.adopt_module_key_flags(hosts)


def main(stop: StopSignal) -> None:
    hosts.settle()
    command.use_host_devices(grid.most_side_by_side(), FLAGS.num_devices, FLAGS.num_processes or 1)
    hosts.connect()
    stop.listen()
    hosts.introduce()
    hosts.require_same(settings.as_text() | grid.as_text() | grid.hardware_as_text())
    if grid.is_asked_for():
        sweep.main(stop)
        return
    folder = RunFolder(FLAGS.workdir)
    objectives.settle()
    settings.settle(folder)
    if (result := folder.summary()) is not None:
        print(f"The run in {folder.path} is finished; name another --workdir for a new one.")
        print(summary.report(result))
        return
    grid.check_devices(1, FLAGS.batch_size)
    command.use_compile_cache()
    with folder.claimed():
        images = load_images()
        folder.record_flags(settings.as_text())
        run = Run(folder, FLAGS.seed, settings.numbers())
        trained = runs.train([run], images, stop, _give_up, grid.plan_of(FLAGS.num_devices))
        estimate = runs.make_evaluation(images)
        print(summary.report(runs.finish(run, trained[0], images, estimate, stop)))


def _give_up(run: Run, message: str) -> None:
    raise DivergenceError(message)


if __name__ == "__main__":
    command.run(main)
