"""The meaning of the numbers of an evaluation, in words."""

import math
from typing import Any, NamedTuple

from vae_jax.diagnostics.aggregate import ACTIVE_VARIANCE, CARRIED_SHARE, Surgery, Units

_UNTRUSTED = 0.7  # k-hat above which importance sampling needs too many samples
_COLLAPSED_LAYER = 0.01  # nats of a whole layer
_OR_REFINED = ", or a few steps of optimisation for each example (--refine_steps)"
_SATURATED = 1.0  # nats; closer to log N than this, mutual information is unknown


class Cause(NamedTuple):
    """A cause of loss, and its size."""

    name: str
    nats: float
    standard_error: float
    advice: str
    options: tuple[str, ...]  # those that the advice means, and what belongs to them


def state_of_latents(surgery: Surgery | None, units: Units) -> list[str]:
    """Sentences on posterior collapse, on the latents that carry the KL, and on I(x; z)."""
    num, active = len(units.active), int(units.active.sum())
    information = [] if surgery is None else [_information(surgery)]
    if active == 0:
        kl = "" if surgery is None else f" (mean KL {surgery.kl:.2g} nats)"
        found = (
            f"POSTERIOR COLLAPSE: none of the {num} latents varies with x{kl}; the decoder ignores "
            "z, so that there is nothing to encode."
        )
        return [found, *information]
    if active < num:
        found = (
            f"POSTERIOR COLLAPSE in part: {num - active} of {num} latents do not vary with x"
            + ("." if units.kl is None else f", with a KL of {_idle(units):.2g} nats together.")
        )
    else:
        found = f"No posterior collapse: all {num} latents vary with x."
    return [found, _carried(units), *information]


def causes(
    gaps: dict[str, dict[str, Any]],
    surgery: Surgery | None,
    uncertainty: float,
    *,
    is_hierarchy: bool = False,
) -> tuple[list[Cause], list[str]]:
    """Possible gains, the largest first, and remarks on what remains unknown.

    gaps: gaps of "test" and "train", in the form of evidence.json.
    uncertainty: nats by which log p(x) may be higher than estimated.
    is_hierarchy: whether the latents have layers, for which some options are not.
    """
    test, train = gaps["test"], gaps["train"]
    found = [
        Cause(
            "amortisation gap",
            test["amortisation"][0],
            test["amortisation"][1],
            "a larger encoder (--encoder, --hidden)" + ("" if is_hierarchy else _OR_REFINED),
            ("network", "encoder", "hidden", "channels", "num_blocks", "refine_steps"),
        ),
        Cause(
            "approximation gap",
            test["approximation"][0],
            test["approximation"][1],
            "a richer family of q(z|x) (--posterior=full, iaf or another), or training by an "
            "importance-weighted bound (--objective=iwae)",
            ("posterior", "posterior_rank", "posterior_components", "num_flows", "objective"),
        ),
        Cause(
            "generalisation gap, log p(x) of training less test examples",
            train["log_evidence"][0] - test["log_evidence"][0],
            math.hypot(train["log_evidence"][1], test["log_evidence"][1]),
            "more data, a smaller decoder (--decoder, --hidden), --weight_decay, or stopping "
            "earlier (--keep=best)",
            ("decoder", "hidden", "weight_decay", "dropout", "keep", "patience", "epochs"),
        ),
    ]
    remarks = []
    if surgery is None:
        remarks.append("How far the prior is from the aggregate posterior was not measured.")
    elif _is_saturated(surgery):
        remarks.append(
            "How far the prior is from the aggregate posterior cannot be told from "
            f"{surgery.num_examples:,} examples."
        )
    else:
        found.append(
            Cause(
                f"marginal KL, posteriors of {surgery.num_examples:,} examples together from prior",
                surgery.marginal_kl,
                surgery.marginal_kl_error,
                "a learned prior (--prior=mixture, vamp or flow)",
                ("prior", "prior_components", "prior_flow"),
            )
        )
    if uncertainty > found[1].nats:
        remarks.append(
            f"log p(x) may be up to {uncertainty:.2f} nats higher, and the approximation gap with "
            "it: more --temperatures narrow this."
        )
    return sorted(found, key=lambda cause: -cause.nats), remarks


def first_advice(ranked: list[Cause], units: Units, num_examples: int) -> str:
    """The first thing to change: a collapse, or the largest gain that is significant."""
    if not units.active.any():
        return (
            "First of all undo the collapse: let the weight of the KL rise from 0 (--anneal), "
            "leave some of it free (--objective=free_bits), or take a weaker decoder."
        )
    for cause in ranked:
        if cause.nats > 2 * cause.standard_error:
            return (
                f"First of all {cause.advice}: the {cause.name} is {cause.nats:.2f} nats "
                f"(standard error {cause.standard_error:.2f})."
            )
    return (
        f"Nothing here is larger than twice its standard error with {num_examples} examples: more "
        "--num_examples would tell more; what is not among these causes is the decoder's."
    )


def trust_in_weights(shapes: list[float], ess: list[float], num_weights: int) -> str:
    """Whether to trust importance sampling. shapes, ess: k-hat and ESS of each example."""
    bad = sum(shape > _UNTRUSTED for shape in shapes)
    median = sorted(ess)[len(ess) // 2]
    return (
        f"Importance sampling cannot be trusted for {bad} of {len(shapes)} examples (Pareto k-hat "
        f"above {_UNTRUSTED}); the median effective sample size is {median:,.0f} of "
        f"{num_weights:,}."
    )


def layers_in_words(layer_kl: list[list[float]] | None) -> list[str]:
    """The KL of each layer of a hierarchy, from its mean and standard error; nothing for one layer.

    The mean and the standard deviation of a layer may follow those above it, so that its latents
    vary with x although it says nothing of its own: then its KL is zero.
    """
    sentences = []
    for layer, (mean, error) in enumerate(layer_kl or [], start=1):
        found = f"Layer z_{layer} has a mean KL of {mean:.2f} +- {error:.2f} nats"
        collapsed = mean < _COLLAPSED_LAYER
        sentences.append(found + (": POSTERIOR COLLAPSE of this layer." if collapsed else "."))
    return sentences


def surgery_in_words(surgery: Surgery) -> str:
    """The mean KL and its parts, for the mixture of the posteriors of these images."""
    if _is_saturated(surgery):
        return (
            f"Mean KL {surgery.kl:.2f}: at least {surgery.mutual_information:.2f} of it is mutual "
            f"information, so that the marginal KL is at most {surgery.marginal_kl:.2f}."
        )
    words = (
        f"Mean KL {surgery.sampled_kl:.2f} = mutual information {surgery.mutual_information:.2f} + "
        f"marginal KL {surgery.marginal_kl:.2f} (+- {surgery.marginal_kl_error:.2f})"
    )
    if surgery.dimension_kl is None:
        return f"{words}."
    return (
        f"{words}, which is {surgery.dimension_kl.sum():.2f} within the dimensions and "
        f"{surgery.total_correlation:.2f} between them."
    )


def _carried(units: Units) -> str:
    """The number of latents that carry the KL, and of active ones, which may be far more."""
    num, active = len(units.active), int(units.active.sum())
    words = (
        f"{active} of {num} latents {'is' if active == 1 else 'are'} active (variance of the "
        f"posterior mean over the examples above {ACTIVE_VARIANCE}, Burda et al. 2016)"
    )
    if units.carrying is None:
        return f"{words}; the KL of each of them is not known of this family."
    carrying = int(units.carrying.sum())
    return (
        f"{words}; {carrying} "
        f"{'carries' if carrying == 1 else 'carry'} {CARRIED_SHARE:.0%} of the KL."
    )


def _idle(units: Units) -> float:
    """The KL of the dimensions that do not vary, nats; it must be known."""
    assert units.kl is not None
    return float(units.kl[~units.active].sum())


def _information(surgery: Surgery) -> str:
    most = math.log(surgery.num_examples)
    text = (
        f"z carries {surgery.mutual_information:.2f} nats of which of {surgery.num_examples:,} "
        f"examples it is (at most log N = {most:.2f})"
    )
    if _is_saturated(surgery):
        return f"{text}: all that can be seen with so few examples."
    return f"{text}, of a mean KL of {surgery.kl:.2f}."


def _is_saturated(surgery: Surgery) -> bool:
    return surgery.mutual_information > math.log(surgery.num_examples) - _SATURATED
