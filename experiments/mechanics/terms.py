"""Step 4: the two terms of the ELBO, and VAEs that are trained without one of them."""

from functools import partial

import jax
import numpy as np

from experiments.mechanics import drawings, rules
from experiments.mechanics.drawings import LatentSpace
from experiments.mechanics.lesson import STANDARD_ERRORS, Check, Result, Subject, t_statistic
from vae_jax import TrainedVAE, evidence
from vae_jax.models import Model, Params, draw

TEXT = """\
The two terms of the ELBO

The ELBO has two terms that pull in opposite directions: reconstruction asks q(z|x) to say all
about x, its divergence from the prior asks it to say nothing.

    ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z))

Trained as long with one of them alone: without the KL the posteriors shrink to points, far from the
prior, whose samples the decoder has never seen; without the reconstruction q is the prior, and z
knows nothing of x.
"""
_NUM_IMAGES, _NUM_KEYS = 3, 2000
BOTH, NO_KL, NO_RECONSTRUCTION = "both terms", "reconstruction alone", "KL to the prior alone"


def run(subject: Subject, key: jax.Array) -> Result:
    """Compares three trainings on the test images, and checks the terms on a few of them."""
    sampled_key, test_key, reconstruct_key, sample_key = jax.random.split(key, 4)
    measured, spread, pictures, worst, kl_residual = {}, {}, {}, [], []
    estimate = evidence.make_importance_sampler(subject.model, 20)
    for name, params in subject.trained.items():
        vae = TrainedVAE(subject.model, params, metadata={})
        posteriors = jax.device_get(vae.encode(subject.x))
        mean, std = posteriors.mean, np.exp(posteriors.log_std)
        scores = estimate(params, subject.x, test_key)
        exact = [
            measure_both(subject.model, params, x, jax.random.fold_in(sampled_key, i))
            for i, x in enumerate(subject.x[:_NUM_IMAGES])
        ]
        worst += [t_statistic(sampled, terms.elbo) for sampled, terms in exact]
        kl_residual += [abs(terms.summed_kl - terms.kl) for _, terms in exact]
        measured[name] = {
            "elbo": scores.elbo.mean(),
            "reconstruction": scores.reconstruction.mean(),
            "kl": scores.kl.mean(),
            "log_evidence": np.mean([terms.log_evidence for _, terms in exact]),
        }
        spread[name] = {"of_means": mean.std(axis=0).mean(), "posterior_std": std.mean()}
        pictures[name] = LatentSpace(
            mean[:150],
            std[:150],
            vae.reconstruct(reconstruct_key, subject.x[:6]),
            vae.sample(sample_key, 18),
        )
    lines = [
        f"{'trained with':24}{'ELBO':>10}{'reconstr.':>12}{'KL':>10}{'std of means':>14}"
        f"{'std of q':>10}{'log p(x)':>12}"
    ]
    for name, row in measured.items():
        lines.append(
            f"{name:24}{row['elbo']:10.2f}{row['reconstruction']:12.2f}{row['kl']:10.4f}"
            f"{spread[name]['of_means']:14.3f}{spread[name]['posterior_std']:10.3f}"
            f"{row['log_evidence']:12.2f}"
        )
    lines.append(
        f"Means over {len(subject.x)} test images, by 20 samples; log p(x) over {_NUM_IMAGES}, by "
        "quadrature."
    )
    both, no_kl = measured[BOTH], measured[NO_KL]
    checks = [
        Check(
            "ELBO = reconstruction - KL",
            "sampled log w, standard errors",
            max(worst),
            STANDARD_ERRORS,
        ),
        Check("KL(q||p(z)) in closed form", "midpoint rule", max(kl_residual), 1e-6),
        Check(
            "without the KL it rises",
            "KL of both terms - of rec. alone",
            both["kl"] - no_kl["kl"],
            0.0,
        ),
        Check(
            "and the ELBO falls",
            "ELBO of rec. alone - of both terms",
            no_kl["elbo"] - both["elbo"],
            0.0,
        ),
        Check("without the rec. q(z|x) = p(z)", "KL", measured[NO_RECONSTRUCTION]["kl"], 0.005),
    ]
    originals = np.asarray(subject.x[:6])
    figure = drawings.switched_off_terms(originals, pictures)
    return Result(lines, checks, {"4_terms": figure}, {"trained": measured, "spread": spread})


def measure_both(
    model: Model, params: Params, x: jax.Array, key: jax.Array
) -> tuple[np.ndarray, rules.Decomposition]:
    """The sampled log-weights [N], whose mean is the ELBO, and the exact terms. x: [*event]."""
    sampled = jax.device_get(_sampled_elbo(model, params, x, jax.random.split(key, _NUM_KEYS)))
    with jax.enable_x64(True):
        return sampled, jax.device_get(rules.measure(model, *rules.double((params, x)))[1])


@partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def _sampled_elbo(model: Model, params: Params, x: jax.Array, keys: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: draw(model, params, x, key[None]).log_w[0])(keys)
