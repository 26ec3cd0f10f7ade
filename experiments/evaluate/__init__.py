"""How good a trained VAE really is, and what holds it back: `python -m experiments.evaluate`."""
