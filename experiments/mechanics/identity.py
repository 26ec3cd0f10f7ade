"""Step 3: log p(x) = KL + ELBO, on test images and over training."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.mechanics import drawings, rules
from experiments.mechanics.lesson import QUADRATURE, Check, Result, Subject
from experiments.mechanics.linear import linear_vae
from vae_jax.distributions import Normal
from vae_jax.evidence import linear_gaussian
from vae_jax.models import Params

TEXT = """\
The evidence is the ELBO and what it lacks

What the ELBO lacks of log p(x) is the divergence of q(z|x) from the posterior: for every image, at
every moment of training. As it is never negative, the ELBO is a lower bound.

    log p(x) = KL(q(z|x) || p(z|x)) + ELBO  >=  ELBO

Each of the three numbers is computed by a rule of its own: log p(x) by the trapezoidal rule around
the posterior; KL by midpoints around q, with p(z|x) normalised by midpoints around the posterior;
the ELBO by the trapezoidal rule around q and the closed form of KL(q||p(z)).
"""
_NUM_IMAGES, _NUM_TRACED = 6, 3


def run(subject: Subject, key: jax.Array) -> Result:
    """The equation on test images, on some of them over training, and in closed form."""
    found = _measure(subject, subject.params, _NUM_IMAGES)
    lines = ["test image      log p(x)    KL(q||p(z|x))          ELBO           residual (nats)"]
    for i in range(_NUM_IMAGES):
        lines.append(
            f"{i:10} {found.log_evidence[i]:13.6f} {found.gap[i]:16.6f} {found.elbo[i]:13.6f} "
            f"{found.residual[i]:18.1e}"
        )
    lines += ["", f"Over training, means of {_NUM_TRACED} test images and the largest residual:"]
    lines += ["     epoch      log p(x)    KL(q||p(z|x))          ELBO           residual (nats)"]
    traced = {}
    for epoch, params in subject.snapshots.items():
        traced[epoch] = _measure(subject, params, _NUM_TRACED)
        lines.append(
            f"{epoch:10} {traced[epoch].log_evidence.mean():13.6f} "
            f"{traced[epoch].gap.mean():16.6f} {traced[epoch].elbo.mean():13.6f} "
            f"{np.abs(traced[epoch].residual).max():18.1e}"
        )
    elbo = [each.elbo.mean() for each in traced.values()]
    residual = [np.abs(each.residual).max() for each in traced.values()]
    checks = [
        Check(
            "log p(x) = KL + ELBO",
            f"{_NUM_IMAGES} test images, three rules",
            np.abs(found.residual).max(),
            QUADRATURE,
        ),
        Check(
            "log p(x) = KL + ELBO",
            f"{_NUM_TRACED} test images, {len(traced)} moments of training",
            max(residual),
            QUADRATURE,
        ),
        Check("log p(x) = KL + ELBO", "linear-Gaussian, closed forms", closed_residual(key), 1e-10),
        Check(
            "KL(q||p(z|x)) >= 0",
            "how far below zero, of all these",
            max(0.0, *(-each.gap.min() for each in (found, *traced.values()))),
            1e-9,
        ),
        Check(
            "the ELBO rises in training",
            "first minus last",
            elbo[0] - elbo[-1],
            0.0,
        ),
    ]
    gap = [each.gap.mean() for each in traced.values()]
    log_evidence = [each.log_evidence.mean() for each in traced.values()]
    epochs = list(traced)
    figure = drawings.evidence_decomposition(epochs, log_evidence, elbo, gap, residual)
    numbers = {
        "test_images": {
            "log_evidence": found.log_evidence,
            "gap": found.gap,
            "elbo": found.elbo,
            "residual": found.residual,
        },
        "training": {
            "epoch": epochs,
            "log_evidence": log_evidence,
            "gap": gap,
            "elbo": elbo,
            "residual": residual,
        },
    }
    return Result(lines, checks, {"3_identity": figure}, numbers)


def closed_residual(key: jax.Array) -> float:
    """|log p(x) - KL - ELBO| of a linear-Gaussian VAE, with closed-form evidence and posterior.

    As in the other checks, the ELBO is that of the library's model.
    """
    with jax.enable_x64(True):
        linear = linear_vae(key)
        q: Normal = linear.model.posterior(linear.params, linear.x)
        terms = rules.exact_terms(linear.model, linear.params, linear.x, q)
        covariance = jnp.diag(jnp.exp(2.0 * q.log_std))
        exact = linear_gaussian.posterior(linear.truth, linear.x)
        gap = linear_gaussian.normal_kl(q.mean, covariance, *exact)
        log_evidence = linear_gaussian.log_evidence(linear.truth, linear.x)
        return float(abs(log_evidence - gap - (terms.reconstruction - terms.kl)))


def _measure(subject: Subject, params: Params, num_images: int) -> rules.Decomposition:
    """The terms of `num_images` test images, [N] each, on the host."""
    with jax.enable_x64(True):
        params, x = rules.double((params, subject.x[:num_images]))
        found = [jax.device_get(rules.measure(subject.model, params, image)[1]) for image in x]
    return jax.tree.map(lambda *values: np.stack(values), *found)
