"""Commands: `python -m experiments.NAME`."""

import os

# Before JAX is imported, which some commands do before they import `vae_jax`: see there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
