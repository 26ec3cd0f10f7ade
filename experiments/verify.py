"""Checks every estimator against exact truth. It is `vae-jax verify`.

python -m experiments.verify --only=bounds,gradients
"""

from vae_jax.commands import command, verify

if __name__ == "__main__":
    verify.define_flags()
    command.run(verify.main, about=verify.__doc__)
