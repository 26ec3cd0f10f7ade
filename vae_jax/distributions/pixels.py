"""Mass functions of pixels with a number of levels, such as the 256 of 8-bit images.

Values are k / (levels - 1) in [0, 1], as `data.grey` makes of stored pixels. Their log-probability
divided by -log 2 and the number of dimensions is in bits per dimension.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

from vae_jax.distributions.base import Independent, require_event, sum_event

_LEVELS = "k / (levels - 1) for whole k, as data.grey makes of stored pixels"


@dataclasses.dataclass(frozen=True)
class _Rounded(Independent):
    """Variables of a location and a scale that are rounded to levels."""

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _LEVELS

    location: jax.Array
    log_scale: jax.Array
    levels: int = dataclasses.field(default=256, metadata={"static": True})

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are levels, [] bool."""
        return _are_levels(value, self.levels)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiscretisedLogistic(_Rounded):
    """Logistic variables that are rounded to levels (Kingma et al. 2016, section 5.1).

    Level k has the mass of the interval around it. The first and the last level have the tails.

    Attributes:
      location: [*event], in units of the values.
      log_scale: [*event].
      levels: number of levels.
    """

    @property
    def mean(self) -> jax.Array:
        """The mean of the logistic variables clipped to [0, 1], before rounding, [*event]."""
        return _clipped_mean(self.location, self.log_scale)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of levels, [*event]."""
        noise = jax.random.logistic(key, self.location.shape, self.location.dtype)
        return _rounded(self.location + jnp.exp(self.log_scale) * noise, self.levels)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log P(value), [*event] nats."""
        return _log_mass(value, self.location, self.log_scale, self.levels)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiscretisedNormal(_Rounded):
    """Normal variables that are rounded to levels, as those of diffusion models (Ho et al. 2020,
    eq. 13).

    Level k has the mass of the interval around it. The first and the last level have the tails.

    Attributes:
      location: [*event], in units of the values.
      log_scale: [*event], log standard deviations before rounding.
      levels: number of levels.
    """

    @property
    def mean(self) -> jax.Array:
        """The mean of the normal variables clipped to [0, 1], before rounding, [*event]."""
        scale = jnp.exp(self.log_scale)
        low, high = -self.location / scale, (1.0 - self.location) / scale
        inside = norm.cdf(high) - norm.cdf(low)
        return self.location * inside + scale * (norm.pdf(low) - norm.pdf(high)) + norm.sf(high)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of levels, [*event]."""
        noise = jax.random.normal(key, self.location.shape, self.location.dtype)
        return _rounded(self.location + jnp.exp(self.log_scale) * noise, self.levels)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log P(value), [*event] nats."""
        precision, half = jnp.exp(-self.log_scale), 0.5 / (self.levels - 1)
        centred = value - self.location
        low, high = (centred - half) * precision, (centred + half) * precision
        # The interval in the lower half, where the logarithms of the distribution function differ.
        below, above = jnp.where(centred > 0.0, -high, low), jnp.where(centred > 0.0, -low, high)
        log_above = log_ndtr(above)
        inside = log_above + _log1mexp(log_above - log_ndtr(below))
        outside = jnp.where(value < half, log_ndtr(high), log_ndtr(-low))
        return jnp.where((value < half) | (value > 1.0 - half), outside, inside)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogisticMixture:
    """A mixture of discretised logistics for each pixel, with coupled channels.

    PixelCNN++ (Salimans et al. 2017, section 2.1 and 2.2). A pixel chooses one of M components.
    Within a component the location of a channel depends linearly on the values of the channels
    before it: location_c + sum_{j < c} coupling_cj (x_j - 1/2).

    Attributes:
      logits: [*pixels, M], of the components.
      location: [*pixels, C, M].
      log_scale: [*pixels, C, M].
      coupling: [*pixels, C (C - 1) / 2, M], in the order (1, 0), (2, 0), (2, 1), ...
      levels: number of levels.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _LEVELS

    logits: jax.Array
    location: jax.Array
    log_scale: jax.Array
    coupling: jax.Array
    levels: int = dataclasses.field(default=256, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, [*pixels, C]."""
        return jnp.shape(self.location)[:-1]

    @property
    def mean(self) -> jax.Array:
        """The mean of the components' means, [*pixels, C].

        A component's mean of a channel is that of the clipped logistic, before rounding, given the
        means of the channels before it.
        """
        weights = jax.nn.softmax(self.logits)
        means: list[jax.Array] = []
        for channel in range(self.event_shape[-1]):
            location = self._location(channel, means)
            means.append(_clipped_mean(location, self.log_scale[..., channel, :]))
        return jnp.stack([jnp.sum(weights * mean, axis=-1) for mean in means], axis=-1)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of levels, [*pixels, C], channel after channel."""
        choice_key, noise_key = jax.random.split(key)
        chosen = jax.random.categorical(choice_key, self.logits)[..., None]
        noise = jax.random.logistic(noise_key, self.event_shape, self.location.dtype)
        values: list[jax.Array] = []
        for channel in range(self.event_shape[-1]):
            # The values of a pixel are the same for all components, [*pixels, 1].
            location = self._location(channel, values)
            location, log_scale = (
                jnp.take_along_axis(array, chosen, axis=-1)
                for array in (location, self.log_scale[..., channel, :])
            )
            value = location + jnp.exp(log_scale) * noise[..., channel, None]
            values.append(_rounded(value, self.levels))
        return jnp.concatenate(values, axis=-1)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*pixels, C], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are levels, [] bool."""
        return _are_levels(value, self.levels)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The sum over pixels of their log-probabilities, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        channels = [value[..., channel, None] for channel in range(value.shape[-1])]
        log_mass = jax.nn.log_softmax(self.logits)
        for channel, one in enumerate(channels):
            location = self._location(channel, channels[:channel])
            log_mass += _log_mass(one, location, self.log_scale[..., channel, :], self.levels)
        return sum_event(jax.nn.logsumexp(log_mass, axis=-1))

    def log_mass_of_channel(self, channel: int, value: jax.Array) -> jax.Array:
        """log P of each level of a channel given the channels before it in an event, [*pixels,
        levels] nats. value: one event, of whose channels those before are taken."""
        channels = [value[..., index, None] for index in range(channel)]
        weights = jax.nn.log_softmax(self.logits)
        for index, one in enumerate(channels):
            location = self._location(index, channels[:index])
            weights += _log_mass(one, location, self.log_scale[..., index, :], self.levels)
        weights = jax.nn.log_softmax(weights)
        location, log_scale = self._location(channel, channels), self.log_scale[..., channel, :]

        def of_level(level):
            log_mass = _log_mass(level, location, log_scale, self.levels)
            return jax.nn.logsumexp(weights + log_mass, axis=-1)

        levels = jnp.arange(self.levels, dtype=value.dtype) / (self.levels - 1)
        return jnp.moveaxis(jax.lax.map(of_level, levels), 0, -1)

    def _location(self, channel: int, before: list[jax.Array]) -> jax.Array:
        """The locations of a channel, [*pixels, M]. before: values [*pixels, 1 or M] of others."""
        first = channel * (channel - 1) // 2
        location = self.location[..., channel, :]
        for j in range(channel):
            location += self.coupling[..., first + j, :] * (before[j] - 0.5)
        return location


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CategoricalLevels(Independent):
    """A probability for each level of each pixel. logits: [*event, levels]."""

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _LEVELS

    logits: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)[:-1]

    @property
    def mean(self) -> jax.Array:
        """The mean of the values, [*event]."""
        levels = self.logits.shape[-1]
        return jax.nn.softmax(self.logits) @ (jnp.arange(levels) / (levels - 1))

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of levels, [*event]."""
        level = jax.random.categorical(key, self.logits)
        return level.astype(self.logits.dtype) / (self.logits.shape[-1] - 1)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are levels, [] bool."""
        return _are_levels(value, self.logits.shape[-1])

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log P(value), [*event] nats."""
        level = jnp.round(value * (self.logits.shape[-1] - 1)).astype(jnp.int32)
        log_mass = jax.nn.log_softmax(self.logits)
        return jnp.take_along_axis(log_mass, level[..., None], axis=-1)[..., 0]


def _log_mass(
    value: jax.Array, location: jax.Array, log_scale: jax.Array, levels: int
) -> jax.Array:
    """The log-probability of the interval around a level under a logistic variable, elementwise.

    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), which no cancellation spoils.
    """
    half = 0.5 / (levels - 1)
    precision = jnp.exp(-log_scale)
    centred = (value - location) * precision
    log_below = jax.nn.log_sigmoid(centred + half * precision)
    log_above = jax.nn.log_sigmoid(half * precision - centred)
    inside = log_below + log_above + _log1mexp(2.0 * half * precision)
    return jnp.where(value < half, log_below, jnp.where(value > 1.0 - half, log_above, inside))


def _log1mexp(x: jax.Array) -> jax.Array:
    """log(1 - exp(-x)) for x > 0, elementwise."""
    is_small = x < math.log(2.0)
    small, large = jnp.where(is_small, x, 1.0), jnp.where(is_small, 1.0, x)
    return jnp.where(is_small, jnp.log(-jnp.expm1(-small)), jnp.log1p(-jnp.exp(-large)))


def _clipped_mean(location: jax.Array, log_scale: jax.Array) -> jax.Array:
    """The mean of a logistic variable that is clipped to [0, 1]: the integral of P(x > t)."""
    scale, precision = jnp.exp(log_scale), jnp.exp(-log_scale)
    above_zero = jax.nn.softplus(location * precision)
    return scale * (above_zero - jax.nn.softplus((location - 1.0) * precision))


def _rounded(value: jax.Array, levels: int) -> jax.Array:
    return jnp.round(jnp.clip(value, 0.0, 1.0) * (levels - 1)) / (levels - 1)


def _are_levels(value: jax.Array, levels: int) -> jax.Array:
    level = value * (levels - 1)
    is_whole = jnp.abs(level - jnp.round(level)) < 1e-3
    return jnp.all(is_whole & (value >= 0) & (value <= 1))
