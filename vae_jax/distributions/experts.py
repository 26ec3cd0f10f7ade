"""Several views of one example: posteriors that join them, and likelihoods of what is there."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.normal import Normal
from vae_jax.distributions.observed import Observed


def product_of_experts(experts: Normal, is_there: jax.Array) -> Normal:
    """N(0, I) times the densities of those of M experts that are there, normalised.

    Precisions add, and the mean is that of the means weighted by precisions (Wu & Goodman 2018,
    section 2.3).

    Args:
      experts: stacked diagonal normal distributions, leaves [M, L].
      is_there: [M], True or 1 for experts that count.
    """
    precisions = jnp.where(is_there[:, None] > 0, jnp.exp(-2.0 * experts.log_std), 0.0)
    precision = 1.0 + jnp.sum(precisions, axis=0)
    mean = jnp.sum(precisions * experts.mean, axis=0) / precision
    return Normal(mean, -0.5 * jnp.log(precision))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class JointNormal(Normal):
    """A diagonal normal q(z|x_1 .. x_M), with q(z|x_m) of each modality beside it (JMVAE).

    Attributes:
      experts: q(z|x_m), stacked, leaves [M, L].
      is_there: [M], 1 for modalities that are there.
    """

    kl_families: ClassVar[tuple[type, ...]] = (Normal,)

    experts: Normal
    is_there: jax.Array

    def kl_divergence(self, other: Normal) -> jax.Array:
        """KL(self || other) in closed form, [] nats."""
        return jnp.sum(Normal(self.mean, self.log_std).kl_per_dim(other))

    def kl_to_experts(self) -> jax.Array:
        """KL(q(z|x_1 .. x_M) || q(z|x_m)) of each modality, 0 for one that is missing, [M] nats."""
        joint = Normal(self.mean, self.log_std)
        of_each = jax.vmap(lambda expert: jnp.sum(joint.kl_per_dim(expert)))(self.experts)
        return jnp.where(self.is_there > 0, of_each, 0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Modalities:
    """Independent modalities of one example given z, any of which may be missing.

    An event is a dict name -> `Observed(value, mask)`, whose mask is [] 1 for a modality that is
    there. log p sums over these.

    Attributes:
      of_each: name -> distribution of its values.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = "values in the supports of all modalities"

    of_each: dict[str, Any]

    @property
    def event_shape(self) -> dict[str, Any]:
        """The shape of each modality."""
        return {name: one.event_shape for name, one in self.of_each.items()}

    @property
    def mean(self) -> dict[str, jax.Array]:
        """The mean of each modality."""
        return {name: one.mean for name, one in self.of_each.items()}

    def sample(self, key: jax.Array) -> dict[str, Observed]:
        """One event, of which nothing is missing."""
        keys = jax.random.split(key, len(self.of_each))
        return {
            name: Observed(self.of_each[name].sample(k), jnp.ones(()))
            for name, k in zip(sorted(self.of_each), keys, strict=True)
        }

    def in_support(self, value: Mapping[str, Observed]) -> jax.Array:
        """Whether all modalities that are there are in their support, [] bool."""
        inside = [
            one.in_support(value[name].value) | (value[name].mask == 0)
            for name, one in self.of_each.items()
        ]
        return jnp.all(jnp.stack(inside))

    def log_prob_by_modality(self, value: Mapping[str, Observed]) -> dict[str, jax.Array]:
        """The log-density of each modality, 0 for one that is missing, [] nats."""

        def of(one, value, mask):
            # The mean stands for a missing one: zeros may be outside the support.
            inside = jnp.where(mask > 0, value, jax.lax.stop_gradient(one.mean))
            return jnp.where(mask > 0, one.log_prob(inside), 0.0)

        return {name: of(one, *value[name]) for name, one in self.of_each.items()}

    def log_prob(self, value: Mapping[str, Observed]) -> jax.Array:
        """The log-density of what is there, [] nats."""
        return jnp.sum(jnp.stack(list(self.log_prob_by_modality(value).values())))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[dict[str, Observed], jax.Array]:
        """One event and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


def modalities(x: Mapping[str, Any], **shapes: tuple[int, ...]) -> dict[str, Observed]:
    """The event of a model of several modalities, of one example or of N.

    Args:
      x: name -> values [*event] or [N, *event], or None for a modality that is missing.
      **shapes: name -> shape of the values [*event] of each modality. Zeros stand for missing ones.

    Raises:
      ValueError: a name has no shape, all are missing, or the values have another shape.
    """
    known = {name: jnp.asarray(value) for name, value in x.items() if value is not None}
    if not known or not set(x) <= set(shapes):
        raise ValueError(
            f"The modalities are {', '.join(shapes)}, at least one of which must be there, not "
            f"{', '.join(known) or 'none'}."
        )
    batches = set()
    for name, value in known.items():
        extra = value.ndim - len(shapes[name])
        if extra not in (0, 1) or value.shape[extra:] != tuple(shapes[name]):
            raise ValueError(
                f"{name} has the shape {value.shape}, and one example of it {shapes[name]}."
            )
        batches.add(value.shape[:extra])
    if len(batches) > 1:
        lengths = ", ".join(f"{name} {value.shape[0]}" for name, value in known.items())
        raise ValueError(f"The modalities must have one number of examples, not {lengths}.")
    (batch,) = batches
    return {
        name: Observed(
            known.get(name, jnp.zeros((*batch, *shape))),
            jnp.full(batch, float(name in known)),
        )
        for name, shape in shapes.items()
    }
