"""Normalising flows over vectors, as pytrees."""

from vae_jax.distributions.flows.autoregressive import Autoregressive, Reversal, masks_of
from vae_jax.distributions.flows.base import Bijection, Flow, Inverse
from vae_jax.distributions.flows.conditioner import Conditioner, init_conditioner
from vae_jax.distributions.flows.coupling import AffineCoupling, SplineCoupling
from vae_jax.distributions.flows.planar import Planar
from vae_jax.distributions.flows.spline import spline, spline_inverse
from vae_jax.distributions.flows.sylvester import Sylvester, householder, orthogonal

__all__ = [
    "AffineCoupling",
    "Autoregressive",
    "Bijection",
    "Conditioner",
    "Flow",
    "Inverse",
    "Planar",
    "Reversal",
    "SplineCoupling",
    "Sylvester",
    "householder",
    "init_conditioner",
    "masks_of",
    "orthogonal",
    "spline",
    "spline_inverse",
]
