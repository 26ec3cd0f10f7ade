"""Training objectives: bounds on the evidence, estimators of their gradients, penalties."""

from vae_jax.objectives import bounds, estimators, mmd, schedules
from vae_jax.objectives.bounds import Bound
from vae_jax.objectives.codes import codes
from vae_jax.objectives.dip import dip_vae_i, dip_vae_ii
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.factor import factor_vae
from vae_jax.objectives.geco import geco
from vae_jax.objectives.jmvae import jmvae
from vae_jax.objectives.layers import layer_warm_up
from vae_jax.objectives.m2 import m2
from vae_jax.objectives.mmd import info_vae, wae_mmd
from vae_jax.objectives.objective import Metrics, Objective, closed_form_elbo, maximise, split
from vae_jax.objectives.total_correlation import beta_tcvae
from vae_jax.objectives.weighted_kl import beta_vae, capacity, free_bits

__all__ = [
    "Bound",
    "Estimator",
    "Metrics",
    "Objective",
    "beta_tcvae",
    "beta_vae",
    "bounds",
    "capacity",
    "closed_form_elbo",
    "codes",
    "dip_vae_i",
    "dip_vae_ii",
    "estimators",
    "factor_vae",
    "free_bits",
    "geco",
    "info_vae",
    "jmvae",
    "layer_warm_up",
    "m2",
    "maximise",
    "mmd",
    "schedules",
    "split",
    "wae_mmd",
]
