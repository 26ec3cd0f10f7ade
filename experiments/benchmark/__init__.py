"""The speed of training, evaluation and start: see `__main__`."""
