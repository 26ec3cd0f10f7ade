"""Says how good a trained VAE really is. It is `vae-jax evaluate`.

python -m experiments.evaluate --run=runs/mnist
"""

from vae_jax.commands import command, evaluate

if __name__ == "__main__":
    evaluate.define_flags()
    command.run(evaluate.main, about=evaluate.__doc__)
