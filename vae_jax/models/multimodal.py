"""VAEs of several modalities of one example, any of which may be missing."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    JointNormal,
    Modalities,
    Normal,
    NormalMixture,
    Observed,
    product_of_experts,
    standard_normal,
)
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model
from vae_jax.models.heads import Head, bernoulli, diagonal_normal
from vae_jax.models.priors import Prior, fixed
from vae_jax.networks import Architecture, Shape, mlp

#: How q(z|x_1 .. x_M) joins the modalities.
JOININGS = ("product", "mixture", "mixture_of_products", "joint")


class Modality(NamedTuple):
    """One view of an example.

    Attributes:
      event_shape: shape of its values.
      likelihood: head of p(x_m|z); None for `heads.bernoulli()`.
      encoder: architecture of q(z|x_m); None for `networks.mlp()`.
      decoder: architecture of p(x_m|z); None likewise.
    """

    event_shape: Shape
    likelihood: Head | None = None
    encoder: Architecture | None = None
    decoder: Architecture | None = None


def multimodal(
    modalities: Mapping[str, Modality],
    latent_dim: int,
    *,
    joining: str = "product",
    joint_encoder: Architecture | None = None,
    prior: Prior | None = None,
) -> Model:
    """z ~ p(z), and given z independent modalities x_1, ..., x_M, any of which may be missing.

    Examples are dicts name -> `Observed(value, mask)` with a mask [] for the whole modality, which
    `distributions.modalities` makes. log_w is a bound on the log-density of what is there, and
    q(z|x) is that of what is there:

    - "product": MVAE (Wu & Goodman 2018), the product of N(0, I) and q(z|x_m) of each;
    - "mixture": MMVAE (Shi et al. 2019), the mean of q(z|x_m), with implicitly reparameterised
      samples;
    - "mixture_of_products": MoPoE (Sutter et al. 2021), the mean over all subsets of their
      products;
    - "joint": JMVAE (Suzuki et al. 2016), one encoder of all modalities if all are there, and the
      product of the others' q(z|x_m) if not; `objectives.jmvae` trains both.

    Args:
      modalities: name -> `Modality`.
      latent_dim: number of latent variables.
      joining: one of JOININGS.
      joint_encoder: architecture of the encoder of all modalities of "joint"; None for
        `networks.mlp()`.
      prior: p(z); None for N(0, I).

    Returns:
      A `Model` with params {"encoder", "joint", "prior", "decoder", "likelihood"}, of which all but
      "prior" and "joint" are dicts by modality.

    Raises:
      ValueError: there are fewer than two modalities, the joining is unknown, or `latent_dim` is
        not positive.
    """
    names = tuple(sorted(modalities))
    if len(names) < 2 or joining not in JOININGS or latent_dim < 1:
        raise ValueError(
            f"There must be at least 2 modalities, a positive latent_dim and a joining of "
            f"{', '.join(JOININGS)}, not {names}, {latent_dim} and {joining!r}."
        )
    posterior_head = diagonal_normal()
    of_q = posterior_head.output_shape((latent_dim,))
    known = [modalities[name] for name in names]
    likelihoods = [one.likelihood or bernoulli() for one in known]
    encode = [(one.encoder or mlp())(one.event_shape, of_q) for one in known]
    decode = [
        (one.decoder or mlp())((latent_dim,), head.output_shape(one.event_shape))
        for one, head in zip(known, likelihoods, strict=True)
    ]
    sizes = [int(np.prod(one.event_shape)) for one in known]
    encode_all = (joint_encoder or mlp())((sum(sizes),), of_q)
    chosen_prior = prior or fixed(lambda: standard_normal((latent_dim,)))
    subsets = [
        subset
        for number in range(1, len(names) + 1)
        for subset in itertools.combinations(range(len(names)), number)
    ]
    members = np.array([[m in subset for m in range(len(names))] for subset in subsets])

    def read(x: Any) -> list[Observed]:
        if not isinstance(x, Mapping) or set(x) != set(names):
            found = ", ".join(x) if isinstance(x, Mapping) else type(x).__name__
            raise BadInputError(
                f"An example of this model is a dict of {', '.join(names)}, not of {found}: "
                "distributions.modalities makes one."
            )
        return [x[name] for name in names]

    def init(key, x):
        keys = jax.random.split(key, 4)
        events = [of.value for of in read(x)]
        made = [
            head.init(k, event)
            for head, k, event in zip(
                likelihoods, jax.random.split(keys[0], len(names)), events, strict=True
            )
        ]
        encoder_keys, decoder_keys = (jax.random.split(key, len(names)) for key in keys[1:3])
        joint_key, prior_key = jax.random.split(keys[3])
        params = {
            "encoder": {
                n: e.init(k, 0.0) for n, e, k in zip(names, encode, encoder_keys, strict=True)
            },
            "prior": chosen_prior.init(prior_key, x),
            "decoder": {
                n: d.init(k, bias)
                for n, d, k, (_, bias) in zip(names, decode, decoder_keys, made, strict=True)
            },
            "likelihood": {n: params for n, (params, _) in zip(names, made, strict=True)},
        }
        return params | ({"joint": encode_all.init(joint_key, 0.0)} if joining == "joint" else {})

    def expert_of(params, m: int, value) -> Any:
        outputs = encode[m].apply(params["encoder"][names[m]], value)
        return posterior_head.apply({}, outputs, (latent_dim,))

    def posterior_of(params, x):
        parts = read(x)
        is_there = jnp.stack([part.mask for part in parts])
        of_each = [
            expert_of(params, m, jnp.where(part.mask > 0, part.value, 0.0))
            for m, part in enumerate(parts)
        ]
        experts: Normal = jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_each)
        if joining == "product":
            return product_of_experts(experts, is_there)
        if joining == "mixture":
            return NormalMixture(_logits(is_there), experts)
        if joining == "mixture_of_products":
            counts = jnp.asarray(members, is_there.dtype) * is_there[None]
            products = jax.vmap(lambda of: product_of_experts(experts, of))(counts)
            # Subsets all of whose members are there.
            is_whole = jnp.all(jnp.asarray(members) <= (is_there[None] > 0), axis=1)
            return NormalMixture(_logits(is_whole), products)
        values = jnp.concatenate([jnp.ravel(part.value) for part in parts])
        outputs = encode_all.apply(params["joint"], values)
        joint: Any = posterior_head.apply({}, outputs, (latent_dim,))
        rest = product_of_experts(experts, is_there)
        all_there = jnp.all(is_there > 0)
        chosen = jax.tree.map(lambda a, b: jnp.where(all_there, a, b), joint, rest)
        return JointNormal(chosen.mean, chosen.log_std, experts, is_there)

    def prior_of(params):
        return chosen_prior.apply(params["prior"], lambda x: posterior_of(params, x), None)

    def likelihood_of(params, z):
        found = {}
        for m, name in enumerate(names):
            outputs = decode[m].apply(params["decoder"][name], z)
            found[name] = likelihoods[m].apply(
                params["likelihood"][name], outputs, known[m].event_shape
            )
        return Modalities(found)

    return Model(init=init, posterior=posterior_of, prior=prior_of, likelihood=likelihood_of)


def _logits(is_there: jax.Array) -> jax.Array:
    """Equal weights of components that are there, and almost none of others."""
    return jnp.where(is_there > 0, 0.0, _NEVER)


_NEVER = -1e4  # whose exponential is 0 to the bit
