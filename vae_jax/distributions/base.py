"""The interface of distributions: pytrees over ONE event."""

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vae_jax import cpu

_LONGEST_PRODUCT = 4096


class Distribution(Protocol):
    """A registered pytree of arrays that describes the distribution of one event.

    It has no batch axis: a batch of distributions is one distribution with stacked leaves, used
    under `jax.vmap`. An event may be any pytree. All log-densities are in nats.

    A distribution may have more. Figures and generation need a `mean` (`HasMean`). A posterior
    with `kl_per_dim` has its KL term in closed form (`HasKl`). A discrete posterior with
    `relaxed_sample(key, temperature)` can be trained by relaxed gradients. A likelihood with a
    `support` refuses values outside of it (`HasSupport`). A discrete posterior with
    `surrogate_sample(key, kind)` can also be trained by gradients that are not those of the sample.
    """

    is_reparameterised: ClassVar[bool]  # whether samples are differentiable in the parameters

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""

    def sample(self, key: jax.Array) -> Any:
        """One event, differentiable in the parameters if `is_reparameterised`."""

    def log_prob(self, value: Any) -> jax.Array:
        """The log-density of one event, summed over its dimensions. Returns [], nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Any, jax.Array]:
        """`value = sample(key)` and `log_prob(value)`."""


class Independent:
    """Independent variables: what follows from `sample` and `log_prob_per_dim`, [*event] nats."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(jax.tree.leaves(self)[0])

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The sum over dimensions of `log_prob_per_dim`, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        return sum_event(self.log_prob_per_dim(value))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*event], and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    if TYPE_CHECKING:
        is_reparameterised: ClassVar[bool]

        def sample(self, key: jax.Array) -> jax.Array: ...

        def log_prob_per_dim(self, value: jax.Array) -> jax.Array: ...


def sum_event(values: jax.Array) -> jax.Array:
    """The sum of [*event] over all its dimensions, [], by `cpu.sum_of` unless the event is long."""
    if values.size > _LONGEST_PRODUCT:
        return jnp.sum(values)
    return cpu.sum_of(jnp.ravel(values))


class HasKl(Distribution, Protocol):
    """A distribution whose KL divergence to some others is known in closed form."""

    def kl_per_dim(self, other: Distribution) -> jax.Array:
        """KL(self || other) of each dimension, [*event], nats."""


class HasJointKl(Distribution, Protocol):
    """A distribution of dependent dimensions whose KL divergence to some others is known."""

    kl_families: ClassVar[tuple[type, ...]]  # of the others

    def kl_divergence(self, other: Distribution) -> jax.Array:
        """KL(self || other), [] nats."""


class HasMean(Distribution, Protocol):
    """A distribution that knows its mean."""

    @property
    def mean(self) -> jax.Array:
        """The mean of one event, [*event]."""


def point_of(distribution: Any) -> Any:
    """A point of a distribution, [*event]: its mean, or its `centre` where it has one.

    A flow, whose mean is not known, has the image of the middle of its noise, and a distribution on
    a sphere, whose mean is inside of it, its mean direction.
    """
    return distribution.centre if hasattr(distribution, "centre") else distribution.mean


def points_of(distributions: Any) -> Any:
    """`point_of` each of N stacked distributions, [N, *event]."""
    return jax.vmap(point_of)(distributions)


def flat_points_of(distributions: Any) -> jax.Array:
    """`points_of` as one row for each distribution, [N, L]: all variables after one another."""
    return jax.vmap(lambda one: ravel_pytree(point_of(one))[0])(distributions)


class HasSupport(Distribution, Protocol):
    """A likelihood that states its support."""

    support: ClassVar[str]  # in words

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether one event lies in the support, [] bool.

        The answer depends on the value alone. The parameters may be unknown when it is asked.
        """


def kl_divergence(q: Distribution, p: Distribution) -> jax.Array:
    """KL(q || p) in closed form, the sum over the dimensions of one event, [] nats.

    Raises:
      TypeError: it has no closed form for these families; use a sampled bound.
    """
    if _knows_kl_to(q, p):
        return cast(HasJointKl, q).kl_divergence(p)
    return sum_event(cast(HasKl, q).kl_per_dim(p))


def has_closed_form_kl(q: Distribution, p: Distribution) -> bool:
    """Whether `kl_divergence(q, p)` is known here.

    Either q has `kl_per_dim` and p is of its family, or p is of a family that q names.
    """
    return _knows_kl_to(q, p) or (hasattr(q, "kl_per_dim") and type(q) is type(p))


def _knows_kl_to(q: Distribution, p: Distribution) -> bool:
    return type(p) in getattr(q, "kl_families", ())


def require_event(distribution: Distribution, value: jax.Array) -> None:
    """Raises a ValueError for a value that is not one event, which would be broadcast to one.

    Shapes are known when a function is traced, so that this costs nothing when it runs.
    """
    if jnp.shape(value) != distribution.event_shape:
        raise ValueError(
            f"A {type(distribution).__name__} over events of the shape "
            f"{distribution.event_shape} has no density at a value of the shape {jnp.shape(value)}."
        )


def require_straight_through(distribution: Distribution, kind: str) -> None:
    """Raises a TypeError for another surrogate gradient of a sample than "straight_through"."""
    if kind != "straight_through":
        raise TypeError(
            f"The {kind} gradient is for codes of a codebook, and a "
            f"{type(distribution).__name__} has straight_through."
        )


def require_same_family(one: Distribution, other: Distribution) -> None:
    """Checks two distributions for the closed form of their KL divergence.

    Raises:
      TypeError: they are of two families.
      ValueError: their events have different shapes.
    """
    if type(one) is not type(other):
        raise TypeError(
            f"The KL divergence from a {type(one).__name__} to a {type(other).__name__} has no "
            "closed form here; use the fully sampled ELBO."
        )
    if one.event_shape != other.event_shape:
        raise ValueError(
            f"There is no KL divergence from a {type(one).__name__} over events of the shape "
            f"{one.event_shape} to one over events of the shape {other.event_shape}."
        )
