"""Disentanglement of codes [N, L], where the factors [N, F] that made the data are known."""

# scikit-learn is imported in the functions that need it, since that takes two seconds, longer than
# the import of vae_jax itself.

from vae_jax.disentanglement.beta_vae import beta_vae_score
from vae_jax.disentanglement.dci import DCI, dci, disentanglement_and_completeness
from vae_jax.disentanglement.factor_vae import factor_vae_score
from vae_jax.disentanglement.mig import mig
from vae_jax.disentanglement.sap import sap
from vae_jax.disentanglement.scores import all_scores

__all__ = [
    "DCI",
    "all_scores",
    "beta_vae_score",
    "dci",
    "disentanglement_and_completeness",
    "factor_vae_score",
    "mig",
    "sap",
]
