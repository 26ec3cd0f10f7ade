"""Mixtures of distributions."""

import dataclasses
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp

from vae_jax import cpu
from vae_jax.distributions.base import Distribution, HasMean, require_event
from vae_jax.distributions.normal import HALF_LOG_TWO_PI, Normal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of C distributions of one family.

    Its samples carry no gradient: it is for priors. `NormalMixture` is for posteriors, too.

    Attributes:
      logits: [C], the logarithms of the weights, up to a constant.
      components: the distributions, stacked: leaves [C, ...].
    """

    is_reparameterised: ClassVar[bool] = False

    logits: jax.Array
    components: Any

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return _first(self.components).event_shape

    @property
    def mean(self) -> jax.Array:
        """The mean, [*event], of components that know theirs."""
        means = jax.vmap(lambda component: cast(HasMean, component).mean)(self.components)
        return jnp.tensordot(jax.nn.softmax(self.logits), means, axes=1)

    def sample(self, key: jax.Array) -> Any:
        """One event: a component by its weight, and an event of it."""
        choice_key, event_key = jax.random.split(key)
        chosen = jax.random.categorical(choice_key, self.logits)
        component = jax.tree.map(lambda leaf: leaf[chosen], self.components)
        return jax.lax.stop_gradient(component.sample(event_key))

    def log_prob(self, value: Any) -> jax.Array:
        """log sum_c w_c p_c(value), [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        log_weights, components = jax.nn.log_softmax(self.logits), self.components
        if isinstance(components, Normal):
            require_event(_first(components), value)
            mean, log_std = (
                leaf.reshape(len(leaf), -1) for leaf in (components.mean, components.log_std)
            )
            return _log_prob_of_normals(jnp.ravel(value), log_weights, mean, log_std)
        of_each = jax.vmap(lambda component: component.log_prob(value))(components)
        return logsumexp(log_weights + of_each)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Any, jax.Array]:
        """One event and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NormalMixture(Mixture):
    """A mixture of C diagonal normal distributions over [L], with reparameterised samples.

    The choice of a component has no gradient of its own. The gradient of a sample z comes from the
    transformation S(z) to uniform noise, whose l-th number is the distribution function of z_l
    given z_1 .. z_(l-1) (implicit reparameterisation, Figurnov et al. 2018, eq. 7; Graves 2016):
    dz = -(dS/dz)^-1 dS. It is unbiased, and low in variance like that of a normal distribution.

    Attributes:
      logits: [C].
      components: a `Normal` with leaves [C, L].
    """

    is_reparameterised: ClassVar[bool] = True

    @property
    def std(self) -> jax.Array:
        """The standard deviations, [L]."""
        weights, components = jax.nn.softmax(self.logits), self.components
        second = jnp.square(components.mean - self.mean[None]) + jnp.exp(2.0 * components.log_std)
        return jnp.sqrt(weights @ second)

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [L]."""
        fixed = jax.lax.stop_gradient(self)
        value = Mixture.sample(fixed, key)
        jacobian = jax.jacfwd(fixed._to_uniform)(value)
        noise = self._to_uniform(value)
        change = solve_triangular(jacobian, noise - jax.lax.stop_gradient(noise), lower=True)
        return value - change

    def _to_uniform(self, value: jax.Array) -> jax.Array:
        """The distribution function of each z_l given those before it, [L]."""
        components = self.components
        of_each = jax.vmap(lambda one: one.log_prob_per_dim(value))(components)  # [C, L]
        before = jnp.cumsum(of_each, axis=1) - of_each
        weights = jax.nn.softmax(self.logits[:, None] + before, axis=0)
        standardised = (value[None] - components.mean) * jnp.exp(-components.log_std)
        return jnp.sum(weights * jax.scipy.stats.norm.cdf(standardised), axis=0)


def normal_mixture(logits: jax.Array, mean: jax.Array, log_std: jax.Array) -> NormalMixture:
    """A mixture of diagonal normal distributions. logits: [C]; mean, log_std: [C, L]."""
    return NormalMixture(logits, Normal(mean, log_std))


@jax.custom_jvp
def _log_prob_of_normals(
    value: jax.Array, log_weights: jax.Array, mean: jax.Array, log_std: jax.Array
) -> jax.Array:
    """log sum_c w_c N(value; mean_c, std_c^2), [] nats. value: [L]; mean, log_std: [C, L].

    The value is computed from the distances to the means, and the derivative from the parts of
    their squares. That makes the derivative of a batch a few matrix products, where that of the
    distances would be passes over all B x C x L of them.
    """
    return logsumexp(_log_joint_of_normals(value, log_weights, mean, log_std))


@_log_prob_of_normals.defjvp
def _log_prob_of_normals_jvp(primals, tangents):
    value, _, mean, log_std = primals
    d_value, d_log_weights, d_mean, d_log_std = tangents
    log_joint = _log_joint_of_normals(*primals)
    log_prob = logsumexp(log_joint)
    responsibilities = jnp.exp(log_joint - log_prob)  # [C]
    # log w - (value^2 p - 2 value m p + m^2 p) / 2 - log std, with p the precisions 1 / std^2.
    precision = jnp.exp(-2.0 * log_std)
    scaled = mean * precision
    d_precision = -2.0 * precision * d_log_std
    d_scaled = d_mean * precision + mean * d_precision
    d_constant = d_log_weights - jnp.sum(
        d_mean * scaled + 0.5 * jnp.square(mean) * d_precision + d_log_std, axis=1
    )
    squares = jnp.concatenate([jnp.square(value), value])
    d_factors = jnp.concatenate([-0.5 * d_precision, d_scaled], axis=1)  # [C, 2 L]
    of_components = responsibilities @ (d_factors @ squares + d_constant)
    both = responsibilities @ jnp.concatenate([scaled, precision], axis=1)
    mean_scaled, mean_precision = jnp.split(both, 2)
    return log_prob, of_components + (mean_scaled - value * mean_precision) @ d_value


def _log_joint_of_normals(value, log_weights, mean, log_std):
    """log w_c + log N(value; mean_c, std_c^2), [C] nats."""
    squares = jnp.square((value[None] - mean) * jnp.exp(-log_std))
    constant = jnp.sum(log_std, axis=1) + mean.shape[1] * HALF_LOG_TWO_PI
    return log_weights - 0.5 * cpu.sum_of(squares) - constant


def _first(components: Any) -> Distribution:
    """The first component, of which only shapes are used."""
    return jax.tree.map(lambda leaf: leaf[0], components)
