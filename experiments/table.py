"""Joins runs into one table. It is `vae-jax table`.

python -m experiments.table --runs=runs/beta
python -m experiments.table --runs=runs/mnist,runs/other --output=runs/joined
"""

from vae_jax.commands import command, table

if __name__ == "__main__":
    table.define_flags()
    command.run(table.main, about=table.__doc__)
