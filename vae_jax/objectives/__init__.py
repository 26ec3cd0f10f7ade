"""Training objectives: bounds on the evidence and what is made of them."""

from vae_jax.objectives import bounds
from vae_jax.objectives.bounds import Bound
from vae_jax.objectives.objective import Metrics, Objective, closed_form_elbo, maximise

__all__ = ["Bound", "Metrics", "Objective", "bounds", "closed_form_elbo", "maximise"]
