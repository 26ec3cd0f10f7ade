"""Tables whose columns are of several types: one distribution for each, and for the whole row."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import Independent
from vae_jax.distributions.real import LogNormal

_FAR = 1e4  # logits of a threshold beyond all values: its probabilities are 0 and 1 to the bit


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Codes(Independent):
    """Independent categorical variables as codes 0, 1, ..., each with its own number of them.

    P(x_d = k) = softmax(logits_d)_k among the first sizes_d.

    Attributes:
      logits: [D, C], of which each variable has the first sizes_d.
      sizes: D numbers of categories, at most C.
    """

    is_reparameterised: ClassVar[bool] = False

    logits: jax.Array
    sizes: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)[:-1]

    @property
    def support(self) -> str:
        """The support in words."""
        return "codes of categories: whole numbers from 0, fewer than there are categories"

    @property
    def expected(self) -> jax.Array:
        """The probabilities of the categories, [D, C], which are averaged for an estimate."""
        return jax.nn.softmax(self._logits)

    @property
    def mean(self) -> jax.Array:
        """The most probable codes, [D]: categories have no mean."""
        return self.estimate(self.expected)

    def estimate(self, expected: jax.Array) -> jax.Array:
        """The most probable codes, [D], of averages [D, C] of `expected`."""
        return jnp.argmax(expected, axis=-1).astype(self.logits.dtype)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of codes, [D], in the dtype of the logits."""
        return jax.random.categorical(key, self._logits).astype(self.logits.dtype)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are codes, [] bool."""
        return _are_codes(value, self.sizes)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log softmax(logits_d) at the code of each variable, [D] nats."""
        return _at_codes(jax.nn.log_softmax(self._logits), value)

    @property
    def _logits(self) -> jax.Array:
        is_category = jnp.arange(self.logits.shape[-1])[None] < jnp.asarray(self.sizes)[:, None]
        return jnp.where(is_category, self.logits, -jnp.inf)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ordinal(Independent):
    """Independent ordered categories as codes 0, 1, ...: the cumulative logit model.

    P(x_d <= k) = sigmoid(thresholds_dk - location_d) (McCullagh 1980, section 2.3).

    Attributes:
      location: [D].
      thresholds: [D, C - 1], ascending, of which each variable has the first sizes_d - 1.
      sizes: D numbers of categories, at most C.
    """

    is_reparameterised: ClassVar[bool] = False

    location: jax.Array
    thresholds: jax.Array
    sizes: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def support(self) -> str:
        """The support in words."""
        return "codes of ordered categories: whole numbers from 0, fewer than there are categories"

    @property
    def expected(self) -> jax.Array:
        """The probabilities of the categories, [D, C], which are averaged for an estimate."""
        below, above = self._ends()
        return jax.nn.sigmoid(above) - jax.nn.sigmoid(below)

    @property
    def mean(self) -> jax.Array:
        """The median codes, [D]: ordered categories have a median and no mean."""
        return self.estimate(self.expected)

    def estimate(self, expected: jax.Array) -> jax.Array:
        """The median codes, [D], of averages [D, C] of `expected`."""
        is_below = jnp.cumsum(expected, axis=-1) < 0.5
        most = jnp.asarray(self.sizes) - 1
        return jnp.minimum(jnp.sum(is_below, axis=-1), most).astype(self.location.dtype)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of codes, [D], in the dtype of the location."""
        noise = jax.random.logistic(key, self.location.shape, self.location.dtype)
        _, above = self._ends()
        is_above = (self.location + noise)[:, None] > (above + self.location[:, None])[:, :-1]
        return jnp.sum(is_above, axis=-1).astype(self.location.dtype)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are codes, [] bool."""
        return _are_codes(value, self.sizes)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log(sigmoid(a) - sigmoid(b)), a and b the ends of the code of each variable, [D] nats."""
        below, above = (_at_codes(ends, value) for ends in self._ends())
        width = jnp.maximum(above - below, jnp.finfo(above.dtype).tiny)
        log_width = jnp.log(-jnp.expm1(-width))
        return jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + log_width

    def _ends(self) -> tuple[jax.Array, jax.Array]:
        """The thresholds below and above each category, minus the location, both [D, C]."""
        number = self.thresholds.shape[-1]
        is_threshold = jnp.arange(number)[None] < jnp.asarray(self.sizes)[:, None] - 1
        inner = jnp.where(is_threshold, self.thresholds - self.location[:, None], _FAR)
        first = jnp.full((len(inner), 1), -_FAR, inner.dtype)
        last = jnp.full((len(inner), 1), _FAR, inner.dtype)
        below, above = jnp.concatenate([first, inner], 1), jnp.concatenate([inner, last], 1)
        return below, above


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Positive(Independent):
    """Numbers from 0 on: zero with a probability, else log-normal (ZILN, Wang et al. 2019).

    x_d = 0 with probability sigmoid(zero_logits_d), and otherwise log(x_d) is normal. What is said
    of a value is its probability where it is 0 and a density elsewhere, which together sum and
    integrate to one. A density alone would be without bound at a value that many rows have.

    Attributes:
      log_mean: [D].
      log_std: [D].
      zero_logits: [D]; None where no number is 0.
    """

    is_reparameterised: ClassVar[bool] = False

    log_mean: jax.Array
    log_std: jax.Array
    zero_logits: jax.Array | None = None

    @property
    def support(self) -> str:
        """The support in words."""
        return "positive numbers" if self.zero_logits is None else "numbers from 0 on"

    @property
    def expected(self) -> jax.Array:
        """What is averaged for an estimate: the means of the logs, [D]; or where there are zeros
        the probability of a positive number, and its product with these, [D, 2]."""
        if self.zero_logits is None:
            return self.log_mean
        is_positive = jax.nn.sigmoid(-self.zero_logits)
        return jnp.stack([is_positive, is_positive * self.log_mean], axis=-1)

    @property
    def mean(self) -> jax.Array:
        """`estimate` of the numbers themselves, [D]."""
        return self.estimate(self.expected)

    def estimate(self, expected: jax.Array) -> jax.Array:
        """The probability of a positive number times its median, [D], of averages of `expected`:
        the means of log-normal numbers are those of their largest values."""
        if self.zero_logits is None:
            return jnp.exp(expected)
        is_positive, logs = expected[..., 0], expected[..., 1]
        return is_positive * jnp.exp(logs / jnp.maximum(is_positive, jnp.finfo(logs.dtype).tiny))

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, [D]."""
        if self.zero_logits is None:
            return self._log_normal.sample(key)
        zero_key, value_key = jax.random.split(key)
        is_zero = jax.random.bernoulli(zero_key, jax.nn.sigmoid(self.zero_logits))
        return jnp.where(is_zero, 0.0, self._log_normal.sample(value_key))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are positive, or from 0 on, and finite, [] bool."""
        if self.zero_logits is None:
            return self._log_normal.in_support(value)
        return jnp.all((value >= 0) & jnp.isfinite(value))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-probability of a zero, and the log-density of another number, [D] nats."""
        if self.zero_logits is None:
            return self._log_normal.log_prob_per_dim(value)
        is_zero = value == 0
        density = self._log_normal.log_prob_per_dim(jnp.where(is_zero, 1.0, value))
        return jnp.where(
            is_zero,
            jax.nn.log_sigmoid(self.zero_logits),
            jax.nn.log_sigmoid(-self.zero_logits) + density,
        )

    @property
    def _log_normal(self) -> LogNormal:
        return LogNormal(self.log_mean, self.log_std)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Columns(Independent):
    """A row of a table: independent columns, groups of which have a distribution of their type.

    Attributes:
      groups: a distribution over [n_g] for each group of columns.
      places: the columns of each group.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = (
        "rows whose columns have values of their types: real numbers, positive numbers, zeros "
        "where training has seen some, counts, or codes from 0 of categories"
    )

    groups: tuple[Any, ...]
    places: tuple[tuple[int, ...], ...] = dataclasses.field(metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (D,)."""
        return (sum(map(len, self.places)),)

    @property
    def expected(self) -> tuple[jax.Array, ...]:
        """What is averaged for an estimate: means of numbers, and probabilities of categories."""
        return tuple(
            group.expected if hasattr(group, "expected") else group.mean for group in self.groups
        )

    @property
    def mean(self) -> jax.Array:
        """Means of numbers, medians of ordered categories, and the most probable others, [D]."""
        return self.estimate(self.expected)

    def estimate(self, expected: tuple[jax.Array, ...]) -> jax.Array:
        """The point estimate of a row, [D], of averages of `expected`."""
        pairs = zip(self.groups, expected, strict=True)
        return self._joined(
            [
                group.estimate(values) if hasattr(group, "estimate") else values
                for group, values in pairs
            ]
        )

    def sample(self, key: jax.Array) -> jax.Array:
        """One row, [D]."""
        keys = jax.random.split(key, len(self.groups))
        return self._joined([group.sample(k) for group, k in zip(self.groups, keys, strict=True)])

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether each value of one row is one of its type, [] bool."""
        parts = zip(self.groups, self.places, strict=True)
        return jnp.all(jnp.stack([group.in_support(value[jnp.array(at)]) for group, at in parts]))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-density or log-probability of each column, [D] nats."""
        parts = zip(self.groups, self.places, strict=True)
        return self._joined([group.log_prob_per_dim(value[jnp.array(at)]) for group, at in parts])

    def _joined(self, parts: list[jax.Array]) -> jax.Array:
        """The values of the groups, [n_g] each, as those of the columns in their order, [D]."""
        order = [column for place in self.places for column in place]
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return jnp.concatenate(parts)[jnp.array(inverse)]


def _are_codes(value: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    is_whole = (value >= 0) & (value == jnp.round(value))
    return jnp.all(is_whole & (value < jnp.asarray(sizes)))


def _at_codes(values: jax.Array, codes: jax.Array) -> jax.Array:
    """values [D, C] at one code for each variable, [D]; the nearest one if there is no such."""
    index = jnp.clip(codes, 0, values.shape[-1] - 1).astype(jnp.int32)
    return jnp.take_along_axis(values, index[:, None], axis=-1)[:, 0]
