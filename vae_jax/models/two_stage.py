"""The two-stage VAE: a second VAE of the codes of a first one."""

from typing import Any

import jax

from vae_jax.distributions import Chain, VonMisesFisher
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model, Params, given


def two_stage(first: Model, second: Model) -> Model:
    """The VAE whose prior is a second VAE, of the codes of the first one (Dai & Wipf 2019).

    u ~ p(u), z ~ p(z|u), x ~ p(x|z); the posterior is q(z|x) q(u|z). The latents are the pair (z,
    u), so that log_w = log p(x|z) + log p(z|u) + log p(u) - log q(z|x) - log q(u|z) is a
    bound like any other, although p(z) itself has no closed form.

    Args:
      first: a VAE of x, with latents of one array; its prior is not used.
      second: a VAE whose examples are the latents of the first one, such as one that was trained on
        samples of q(z|x); its likelihood must be a density of z.

    Returns:
      A `Model` with params {"first": ..., "second": ...}, such as those of two runs. A condition is
      that of the first one. Its functions raise a BadInputError where the codes of the first VAE
      lie on a sphere, where a density of another kind of z is none.
    """

    def init(key, x):
        keys = jax.random.split(key, 3)
        of_first = first.init(keys[0], x)
        shapes = jax.eval_shape(lambda: first.prior(of_first).sample(keys[2]))
        zeros = jax.numpy.zeros(shapes.shape, shapes.dtype)
        return {"first": of_first, "second": second.init(keys[1], zeros)}

    def code_given_top(params: Params, u: Any):
        return params, second.likelihood(params, u)

    def top_given_code(params: Params, z: Any):
        return params, second.posterior(params, z)

    def posterior(params, x, c=None):
        q = given(first, c).posterior(params["first"], x)
        if isinstance(q, VonMisesFisher):
            raise BadInputError("The codes of the first VAE of two stages must not be on a sphere.")
        return Chain(q, params["second"], (jax.tree_util.Partial(top_given_code),), order=(0, 1))

    def prior(params, c=None):
        del c
        of_top = second.prior(params["second"])
        then = (jax.tree_util.Partial(code_given_top),)
        return Chain(of_top, params["second"], then, order=(1, 0))

    def likelihood(params, z, c=None):
        if not isinstance(z, tuple) or len(z) != 2:
            raise BadInputError("The latents of a two-stage VAE are a pair (z, u).")
        return given(first, c).likelihood(params["first"], z[0])

    return Model(init, posterior, prior, likelihood)
