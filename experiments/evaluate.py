"""Says how good a trained VAE really is: `vae-jax evaluate`, by its module's name.

python -m experiments.evaluate --run=runs/mnist
"""

from vae_jax.commands import command, evaluate

if __name__ == "__main__":
    evaluate.define_flags()
    command.run(evaluate.main, about=evaluate.__doc__)
