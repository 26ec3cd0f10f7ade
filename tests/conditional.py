"""Conditional models whose evidence is known in closed form, for one array x and for two views."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Normal
from vae_jax.evidence import linear_gaussian
from vae_jax.evidence.linear_gaussian import LinearGaussian
from vae_jax.models import Batch, Model, Prior, heads, vae
from vae_jax.networks import mlp

D, L, C, N = 5, 2, 3, 12
_RANDOM = np.random.default_rng(0)
W, V, U = (
    jnp.asarray(_RANDOM.normal(0.0, 0.7, shape), jnp.float32) for shape in ((D, L), (D, C), (L, C))
)
M = jnp.linspace(-0.5, 0.5, D)
STD = 0.4
CONDITIONS = jnp.asarray(_RANDOM.normal(size=(N, C)), jnp.float32)


def truth(c):
    """p(x|c) where z ~ N(U c, I) and x ~ N(W z + V c + M, STD^2 I). c: [C]."""
    return LinearGaussian(W, M + (V + W @ U) @ c, jnp.asarray(STD))


def model():
    """The same as a `vae` of linear networks, and parameters with the best diagonal posterior."""
    prior = Prior(
        init=lambda key, x: {"mean": jnp.zeros((L, C))},
        apply=lambda params, encode, c: Normal(params["mean"] @ c, jnp.zeros(L)),
    )
    linear = vae(
        (D,),
        L,
        encoder=mlp(()),
        decoder=mlp(()),
        likelihood=heads.normal_fixed_scale(STD),
        prior=prior,
        condition_shape=(C,),
    )
    _, params = linear_gaussian.as_vae(LinearGaussian(W, M, jnp.asarray(STD)))
    output = params["encoder"]["output"]
    of_c = -(V + W @ U).T @ output["kernel"] + jnp.concatenate([U.T, jnp.zeros((C, L))], axis=1)
    params["encoder"]["output"] = {
        "kernel": jnp.concatenate([output["kernel"], of_c]),
        "bias": output["bias"],
    }
    params["decoder"]["output"]["kernel"] = jnp.concatenate([W.T, V.T])
    params["prior"] = {"mean": U}
    return linear, params


def examples(key):
    """N examples of the model with their conditions."""
    z_key, x_key = jax.random.split(key)
    z = CONDITIONS @ U.T + jax.random.normal(z_key, (N, L))
    mean = z @ W.T + CONDITIONS @ V.T + M[None]
    return Batch(mean + STD * jax.random.normal(x_key, (N, D)), CONDITIONS)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TwoViews:
    """A distribution over {"left": [2], "right": [3]}, two parts of one normal vector [D]."""

    is_reparameterised: ClassVar[bool] = True
    whole: Normal

    def sample(self, key):
        return views(self.whole.sample(key))

    def log_prob(self, value):
        return self.whole.log_prob(jnp.concatenate([value["left"], value["right"]]))

    @property
    def mean(self):
        return views(self.whole.mean)


def views(x):
    """x [..., D] as a pytree."""
    return {"left": x[..., :2], "right": x[..., 2:]}


def model_of_views():
    """The model whose x is a pytree, with the same numbers."""
    one, params = model()

    def whole(x):
        return jnp.concatenate([x["left"], x["right"]])

    return Model(
        init=lambda key, x: one.init(key, whole(x)),
        posterior=lambda params, x, c: one.posterior(params, whole(x), c),
        prior=one.prior,
        likelihood=lambda params, z, c: TwoViews(one.likelihood(params, z, c)),
    ), params
