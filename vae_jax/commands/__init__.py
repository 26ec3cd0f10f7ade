"""Commands: the only room that reads flags. Each makes a configuration and calls the library."""

import os

# XLA logs an error for each program that it reads from its cache, of features that change nothing.
# What is set before the first import of JAX counts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
