"""The two-stage VAE: a second VAE of the codes of a first one."""

from typing import Any

import jax

from vae_jax.distributions.chained import Chained
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model, Params, given


def two_stage(first: Model, second: Model) -> Model:
    """The VAE whose prior is a second VAE, of the codes of the first one (Dai & Wipf 2019).

    u ~ p(u), z ~ p(z|u), x ~ p(x|z); the posterior is q(z|x) q(u|z). The latents are {"code": z,
    "top": u}, so that log_w = log p(x|z) + log p(z|u) + log p(u) - log q(z|x) - log q(u|z) is a
    bound like any other, although p(z) itself has no closed form.

    Args:
      first: a VAE of x, with latents of one array; its prior is not used.
      second: a VAE whose examples are the latents of the first one, such as one that was trained on
        samples of q(z|x); its likelihood must be a density of z.

    Returns:
      A `Model` with params {"first": ..., "second": ...}, such as those of two runs. A condition is
      that of the first one.
    """

    def init(key, x):
        keys = jax.random.split(key, 3)
        of_first = first.init(keys[0], x)
        shapes = jax.eval_shape(lambda: first.prior(of_first).sample(keys[2]))
        zeros = jax.numpy.zeros(shapes.shape, shapes.dtype)
        return {"first": of_first, "second": second.init(keys[1], zeros)}

    def code_given_top(params: Params, u: Any):
        return second.likelihood(params, u)

    def top_given_code(params: Params, z: Any):
        return second.posterior(params, z)

    def posterior(params, x, c=None):
        q = given(first, c).posterior(params["first"], x)
        then = jax.tree_util.Partial(top_given_code, params["second"])
        return Chained(q, then, ("code", "top"))

    def prior(params, c=None):
        del c
        then = jax.tree_util.Partial(code_given_top, params["second"])
        return Chained(second.prior(params["second"]), then, ("top", "code"))

    def likelihood(params, z, c=None):
        if not isinstance(z, dict) or set(z) != {"code", "top"}:
            raise BadInputError('The latents of a two-stage VAE are {"code": z, "top": u}.')
        return given(first, c).likelihood(params["first"], z["code"])

    return Model(init, posterior, prior, likelihood)
