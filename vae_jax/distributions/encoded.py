"""What q(z|x) of one example is without the parameters that all examples share."""

from typing import Any

from vae_jax.distributions.annealed import Annealed
from vae_jax.distributions.base import Distribution
from vae_jax.distributions.chain import Chain


def without_parameters(q: Distribution) -> Any:
    """A distribution that describes q and can be stacked over many examples.

    It is the distribution where the chains of an annealed one start, the layers of a hierarchy each
    given the centres of those drawn before it (`Chain.at_centre`), and any other as it is.
    """
    if isinstance(q, Annealed):
        return q.start
    return q.at_centre() if isinstance(q, Chain) else q
