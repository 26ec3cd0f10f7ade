"""Options of the posterior q(z|x) and of the prior p(z)."""

import dataclasses

from vae_jax.config.option import option
from vae_jax.models import flows, posteriors, spec
from vae_jax.models.hierarchy import INFERENCES


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions:
    """The families of q(z|x) and p(z)."""

    layers: tuple[int, ...] | None = option(
        None,
        "Numbers of latents of the layers of a hierarchy, from z_1 next to x to the top. p(z) is "
        "p(z_L) ... p(z_1|z_2), with prior the family of p(z_L) and posterior that of each layer "
        "of q(z|x). Default: one layer of latent_dim.",
        group="model",
        swept="shape",
        first=True,
    )
    inference: str = option(
        "bottom_up",
        "How q(z|x) of a hierarchy goes from layer to layer. bottom_up: q(z_1|x) q(z_2|z_1). "
        "top_down: the ladder VAE, q(z_2|x) q(z_1|z_2, x), where p(z_1|z_2) is a factor of the "
        "latter. independent: the same factors, each by a network of its own.",
        group="model",
        choices=INFERENCES,
        swept="shape",
    )
    layer_hidden: tuple[int, ...] = option(
        (100,),
        "Widths of the networks from layer to layer of a hierarchy.",
        group="model",
        swept="shape",
    )
    skip: bool = option(
        False,
        "Whether the decoder of a hierarchy sees all layers, and not z_1 alone.",
        group="model",
    )
    posterior: str = option(
        "diagonal",
        "Family of q(z|x) for latents=normal. diagonal: independent normal latents; full: any "
        "covariance; low_rank: a diagonal and a few directions; mixture: of diagonal ones; and "
        "flows: iaf (inverse autoregressive), coupling, spline (coupling), planar, sylvester; uha: "
        "the end of a Hamiltonian chain from a diagonal one (uncorrected Hamiltonian annealing); "
        "vmf: von Mises-Fisher on the unit sphere, where prior=normal is uniform.",
        group="model",
        choices=tuple(posteriors.POSTERIORS),
        swept="shape",
    )
    posterior_rank: int = option(
        4, "Number of directions of posterior=low_rank.", group="model", low=1, swept="shape"
    )
    posterior_components: int = option(
        5, "Number of components of posterior=mixture.", group="model", low=1, swept="shape"
    )
    chain_steps: int = option(
        4,
        "Number of leapfrog steps of posterior=uha.",
        group="model",
        low=1,
        swept="shape",
    )
    refine_steps: int = option(
        0,
        "Gradient steps up the ELBO of each example, from what the encoder says (semi-amortised "
        "inference).",
        group="model",
        low=0,
        swept="shape",
    )
    refine_rate: float = option(
        0.1, "Length of a step of refine_steps, times the gradient.", group="model", above=0
    )
    refine_samples: int = option(
        8, "Samples of q(z|x) in the ELBO of a step of refine_steps.", group="model", low=1
    )
    refine_through: bool = option(
        True,
        "Whether training differentiates through the steps of refine_steps, or takes their sum for "
        "a constant.",
        group="model",
    )
    prior: str = option(
        "normal",
        "Family of p(z). normal: the standard one, or the usual one of discrete latents; mixture: "
        "of learned diagonal normal ones; vamp: the mean of q(z|u) over learned pseudo-inputs u; "
        "exemplar: a mean over training examples; flow: prior_flow; autoregressive: each discrete "
        "latent given those before it, by one masked network; pixelcnn, transformer: the same by a "
        "causal network, also of codes.",
        group="model",
        choices=tuple(spec.PRIORS),
        swept="shape",
    )
    prior_components: int | None = option(
        None,
        "Number of components of prior=mixture, of pseudo-inputs of vamp, or of training examples "
        "of exemplar. Default: 10, 500 and 500.",
        group="model",
        low=1,
        swept="shape",
    )
    prior_flow: str = option(
        "spline",
        "Flow of prior=flow.",
        group="model",
        choices=tuple(posteriors.FLOWS),
        swept="shape",
    )
    num_flows: int = option(
        4, "Number of bijections of a flow.", group="model", low=1, swept="shape"
    )
    flow_hidden: tuple[int, ...] = option(
        (128,),
        "Widths of the networks of the flows iaf, coupling and spline and of prior=autoregressive.",
        group="model",
        swept="shape",
    )
    flow_context: int = option(
        64,
        "Number of values that the encoder gives the networks of the flows iaf, coupling and "
        "spline.",
        group="model",
        low=1,
        swept="shape",
    )
    shared_flows: bool = option(
        False,
        "Whether all examples share one flow behind their own normal distribution. By default "
        "planar and sylvester take all their numbers from the encoder, and the others a context.",
        group="model",
    )
    sylvester_basis: str = option(
        "orthogonal",
        "Directions of a sylvester flow: orthogonal columns, a product of householder reflections, "
        "or triangular matrices alone.",
        group="model",
        choices=flows.SYLVESTER_BASES,
        swept="shape",
    )
    sylvester_columns: int = option(
        16,
        "Number of orthogonal columns, or of householder reflections, of a sylvester flow.",
        group="model",
        low=1,
        swept="shape",
    )
    pseudo_inputs: str = option(
        "examples",
        "Where the pseudo-inputs of prior=vamp start: at training examples, or random around their "
        "mean.",
        group="optimisation",
        choices=("examples", "random"),
    )
