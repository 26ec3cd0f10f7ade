"""Trains and evaluates VAEs on images: one, or many side by side.

python -m experiments.mnist --flagfile=experiments/configs/mnist.cfg
python -m experiments.mnist --dataset=fashion_mnist --latent_dim=20 --workdir=runs/fashion
python -m experiments.mnist --coordinator=HOST:1234 --num_processes=2 --process_id=0  # and 1
python -m experiments.mnist --num_seeds=3 --sweep=objective=beta --sweep=beta=1,2,4 --workdir=runs/b

The same command again resumes an interrupted run; more --epochs train on. The run folder
(--workdir) gets flags.cfg, metrics.jsonl, checkpoints/, figures/ and summary.json. The folder of a
sweep gets such a folder for each run, and sweep.json, sweep.md and figures/. The command is
`vae-jax train` with a default of --workdir.
"""

from vae_jax.commands import command, train

train.define_flags(workdir="runs/mnist")

if __name__ == "__main__":
    command.run(train.main, about=__doc__)
