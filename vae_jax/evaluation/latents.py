"""What the posterior and the prior of a run let an evaluation measure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    Annealed,
    Chain,
    FullNormal,
    LowRankNormal,
    Mixture,
    Normal,
    VonMisesFisher,
    has_closed_form_kl,
)
from vae_jax.distributions.flows import Flow
from vae_jax.models import given
from vae_jax.runs.run import Run
from vae_jax.trained import event_shape_of

_CONDITIONS = 100  # that are compared
_IN_WORDS: dict[type, str] = {
    Normal: "diagonal normal",
    FullNormal: "normal of any covariance",
    LowRankNormal: "normal of low rank",
    Mixture: "mixture of normals",
    Flow: "flow",
    Annealed: "start of a chain",
    Chain: "hierarchy with shifted layers",
    VonMisesFisher: "von Mises-Fisher distribution",
}


class Latents(NamedTuple):
    """The facts of a run's latents.

    Attributes:
      posterior: q(z|x), as shapes.
      prior: p(z), as shapes.
      num_latents: number of latent variables.
    """

    posterior: Any
    prior: Any
    num_latents: int

    @property
    def family(self) -> str:
        """The family of q(z|x) in words."""
        names = (words for of, words in _IN_WORDS.items() if isinstance(self.posterior, of))
        return next(names, type(self.posterior).__name__)

    @property
    def is_hierarchy(self) -> bool:
        """Whether the latents have several layers."""
        return isinstance(self.posterior, Chain)

    @property
    def num_axes(self) -> int:
        """The number of axes of a quadrature: 1 of a circle, whose latents are two."""
        on_sphere = isinstance(self.posterior, VonMisesFisher)
        return self.num_latents - 1 if on_sphere else self.num_latents

    @property
    def start(self) -> str:
        """Where annealed chains start (`evidence.chain.densities_of`)."""
        return "normal" if isinstance(self.posterior, Flow | Annealed) else "posterior"

    @property
    def has_closed_kl(self) -> bool:
        """Whether KL(q(z|x) || p(z)) has a closed form."""
        return has_closed_form_kl(self.posterior, self.prior)

    @property
    def has_density(self) -> bool:
        """Whether log q(z|x) is known at any z, and not at its own samples alone."""
        return getattr(self.posterior, "has_log_prob", True)


def latents_of(run: Run) -> Latents:
    """The facts of the latents of a run, from shapes alone."""
    model = run.of_one_condition
    x = jax.ShapeDtypeStruct(event_shape_of(run.metadata), jnp.float32)
    posterior = jax.eval_shape(model.posterior, run.params, x)
    prior = jax.eval_shape(model.prior, run.params)
    z = jax.eval_shape(lambda params: model.prior(params).sample(jax.random.key(0)), run.params)
    return Latents(posterior, prior, sum(leaf.size for leaf in jax.tree.leaves(z)))


def has_one_prior(run: Run, c: Any) -> bool:
    """Whether the prior is the same for the first conditions c, leaves [N, ...]; None for none."""
    if c is None:
        return True
    some = jax.tree.map(lambda leaf: leaf[:_CONDITIONS], c)
    priors = jax.jit(jax.vmap(lambda one: given(run.model, one).prior(run.params)))(some)
    return all(
        np.array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
        for leaf in map(np.asarray, jax.tree.leaves(priors))
    )
