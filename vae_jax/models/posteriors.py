"""Posteriors and priors of continuous latents by name, and what each can do."""

from collections.abc import Callable
from typing import Any, NamedTuple

from vae_jax.models import flows, heads
from vae_jax.models.flows import FlowFamily
from vae_jax.models.heads import Head

# name -> (number of bijections, widths of networks, number of values of the context, spec)
FLOWS: dict[str, Callable[[int, tuple[int, ...], int, Any], FlowFamily]] = {
    "planar": lambda num, hidden, context, spec: flows.planar(num, amortised=context > 0),
    "sylvester": lambda num, hidden, context, spec: flows.sylvester(
        num, spec.sylvester_basis, spec.sylvester_columns, amortised=context > 0
    ),
    "iaf": lambda num, hidden, context, spec: flows.inverse_autoregressive(num, hidden, context),
    "coupling": lambda num, hidden, context, spec: flows.affine_coupling(num, hidden, context),
    "spline": lambda num, hidden, context, spec: flows.spline_coupling(num, hidden, context),
}


class Posterior(NamedTuple):
    """A family of q(z|x) by name, and the facts of it.

    Attributes:
      head: description of a model -> head.
      has_log_prob: whether log q(z|x) is known at any z, and not at its own samples alone.
      has_closed_kl: whether its KL divergence from the usual prior has a closed form.
      is_chain: whether it is a Hamiltonian chain from a diagonal normal distribution.
      is_flow: whether it is a diagonal normal distribution behind a flow.
      on_sphere: whether its latents lie on the unit sphere, uniformly under p(z).
      least_dim: smallest number of latents.
    """

    head: Callable[[Any], Head]
    has_log_prob: bool = True
    has_closed_kl: bool = False
    is_chain: bool = False
    is_flow: bool = False
    on_sphere: bool = False
    least_dim: int = 1


def _flow(name: str, *, has_log_prob: bool = True, least_dim: int = 1) -> Posterior:
    def head(spec):
        context = 0 if spec.shared_flows else spec.flow_context
        return heads.flow(FLOWS[name](spec.num_flows, spec.flow_hidden, context, spec))

    return Posterior(head, has_log_prob=has_log_prob, is_flow=True, least_dim=least_dim)


POSTERIORS = {
    "diagonal": Posterior(lambda spec: heads.diagonal_normal(), has_closed_kl=True),
    "full": Posterior(lambda spec: heads.full_normal(), has_closed_kl=True),
    "low_rank": Posterior(
        lambda spec: heads.low_rank_normal(spec.posterior_rank), has_closed_kl=True
    ),
    "mixture": Posterior(lambda spec: heads.mixture_of_normals(spec.posterior_components)),
    "iaf": _flow("iaf"),
    "coupling": _flow("coupling", least_dim=2),
    "spline": _flow("spline", least_dim=2),
    "planar": _flow("planar", has_log_prob=False),
    "sylvester": _flow("sylvester", has_log_prob=False),
    "uha": Posterior(lambda spec: heads.diagonal_normal(), has_log_prob=False, is_chain=True),
    "vmf": Posterior(
        lambda spec: heads.von_mises_fisher(), has_closed_kl=True, on_sphere=True, least_dim=2
    ),
}
