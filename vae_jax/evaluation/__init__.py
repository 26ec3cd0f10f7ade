"""The evaluation of a trained VAE: how good it is, and what limits it.

    found = evaluation.evaluate(vj.load("runs/mnist"), evaluation.Budget(num_examples=20))

The way of the data: a run and a `Budget` (budget.py) -> examples, and what the families of its
latents allow (subject.py, latents.py) -> arrays for each example, part by part on disk (parts.py),
by annealing (annealing.py) and the other measures (measures.py) -> numbers (numbers.py), perhaps
less those of another run (against.py) -> their meaning (findings.py), as a page (page.py) and
figures (drawings.py). Of codes there are their bound, their prior and their use (codes.py).
"""

from vae_jax.evaluation.budget import Budget
from vae_jax.evaluation.evaluate import evaluate

__all__ = ["Budget", "evaluate"]
