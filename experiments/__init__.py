"""Commands: `python -m experiments.NAME`."""

import os

# Before JAX is imported. On many processors XLA calls every compiled program that it takes from the
# cache, made on the same machine, one of another machine (jax-ml/jax #38445): two long lines each
# at the level of errors. What does fail is raised as an exception all the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
