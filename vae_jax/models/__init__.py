"""Models as pure functions of one example, their log-weights and their ELBO."""

from vae_jax.models import flows, frozen, heads, latents, priors, quantisers
from vae_jax.models.annealed import annealed
from vae_jax.models.base import Joint, Model, Params, Summed, given
from vae_jax.models.batch import Batch
from vae_jax.models.cells import dispersion_by_condition, latent_size
from vae_jax.models.checks import require_example, require_examples, require_floats
from vae_jax.models.conditions import Sized, dropped, no_condition
from vae_jax.models.decomposition import ElboTerms, elbo, elbo_of, kl_form, kl_term, mean_elbo
from vae_jax.models.draws import Draw, DrawFn, draw, draw_batch
from vae_jax.models.heads import Head
from vae_jax.models.hierarchy import hierarchy
from vae_jax.models.latents import Latents
from vae_jax.models.multimodal import JOININGS, Modality, multimodal
from vae_jax.models.partial import (
    MISSINGNESS,
    as_observed,
    masked_inputs,
    not_at_random,
    partly_observed,
)
from vae_jax.models.priors import Prior
from vae_jax.models.quantisers import Quantiser
from vae_jax.models.refined import refined
from vae_jax.models.semi_supervised import semi_supervised
from vae_jax.models.spec import ModelSpec
from vae_jax.models.two_stage import two_stage
from vae_jax.models.vae import vae
from vae_jax.models.very_deep import size_problem, very_deep

__all__ = [
    "JOININGS",
    "MISSINGNESS",
    "Batch",
    "Draw",
    "DrawFn",
    "ElboTerms",
    "Head",
    "Joint",
    "Latents",
    "Modality",
    "Model",
    "ModelSpec",
    "Params",
    "Prior",
    "Quantiser",
    "Sized",
    "Summed",
    "annealed",
    "as_observed",
    "dispersion_by_condition",
    "draw",
    "draw_batch",
    "dropped",
    "elbo",
    "elbo_of",
    "flows",
    "frozen",
    "given",
    "heads",
    "hierarchy",
    "kl_form",
    "kl_term",
    "latent_size",
    "latents",
    "masked_inputs",
    "mean_elbo",
    "multimodal",
    "no_condition",
    "not_at_random",
    "partly_observed",
    "priors",
    "quantisers",
    "refined",
    "require_example",
    "require_examples",
    "require_floats",
    "semi_supervised",
    "size_problem",
    "two_stage",
    "vae",
    "very_deep",
]
