"""Step 6: the decoder alone generates."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.mechanics import rules
from experiments.mechanics.lesson import STANDARD_ERRORS, Check, Result, Subject, t_statistic
from vae_jax import TrainedVAE, figures
from vae_jax.models import Model, Params
from vae_jax.runs import pictures

TEXT = """\
The decoder alone generates

After training the encoder is put aside: z ~ p(z) through the decoder generates data. The mean of
what it generates is the mean of the decoder over the prior.

    z ~ p(z),  x ~ p(x|z)          E[x] = integral of E[x|z] p(z) dz
"""
_NUM_SAMPLES, _AT_ONCE = 20_000, 1000
_MANIFOLD_SIDE = 20


def run(subject: Subject, key: jax.Array) -> Result:
    """Draws images, and compares how bright they are with quadrature over the prior."""
    sample_key, picture_key = jax.random.split(key)
    generated = sample_images(subject.model, subject.params, sample_key)  # [N, D]
    with jax.enable_x64(True):
        expected, mass = expected_image(subject.model, rules.double(subject.params))
    pixels = (expected > 0.01) & (expected < 0.99)  # the other pixels hardly ever change colour
    deviations = generated.mean(axis=0) - expected
    t = deviations[pixels] / np.sqrt((expected * (1 - expected))[pixels] / _NUM_SAMPLES)
    white = generated.sum(axis=1)
    lines = [
        f"White pixels of an image, mean of {_NUM_SAMPLES:,}   {white.mean():10.4f} +- "
        f"{white.std() / np.sqrt(_NUM_SAMPLES):.4f}",
        f"  by quadrature over the prior          {expected.sum():10.4f}",
        f"The deviations of {pixels.sum()} single pixels are {np.sqrt(np.mean(t**2)):.2f} standard "
        "errors (root mean square; 1 by chance).",
    ]
    checks = [
        Check(
            "E[x] = integral of E[x|z] p(z) dz",
            "white pixels, standard errors",
            t_statistic(white, expected.sum()),
            STANDARD_ERRORS,
        ),
        Check(
            "the same of each pixel",
            f"rms t of {pixels.sum()} pixels",
            float(np.sqrt(np.mean(t**2))),
            2.0,
        ),
        Check("integral of p(z) dz = 1", "midpoint rule", abs(mass - 1.0), 1e-6),
    ]
    vae = TrainedVAE(subject.model, subject.params, metadata={})
    quantiles = (np.arange(_MANIFOLD_SIDE) + 0.5) / _MANIFOLD_SIDE
    between = pictures.interpolate(vae, vae.encode(jnp.asarray(subject.x[:10])))
    drawn = {
        "6_samples": figures.samples(np.asarray(vae.sample(picture_key, 50))),
        "6_manifold": figures.manifold(np.asarray(pictures.manifold(vae, quantiles)), quantiles),
        "6_interpolation": figures.interpolation(np.asarray(between)),
    }
    numbers = {"white_pixels": white.mean(), "expected_white_pixels": expected.sum()}
    return Result(lines, checks, drawn, numbers)


@jax.default_matmul_precision("highest")
def sample_images(model: Model, params: Params, key: jax.Array) -> np.ndarray:
    """Black and white images x ~ p(x|z), z ~ p(z). Returns [N, D]."""

    @jax.jit
    def generate(params, keys):
        def one(key):
            z_key, x_key = jax.random.split(key)
            likelihood = model.likelihood(params, model.prior(params).sample(z_key))
            return jnp.ravel(likelihood.sample(x_key)).astype(jnp.uint8)

        return jax.lax.map(one, keys, batch_size=_AT_ONCE)

    return np.asarray(generate(params, jax.random.split(key, _NUM_SAMPLES)))


def expected_image(model: Model, params: Params) -> tuple[np.ndarray, float]:
    """The integral of E[x|z] p(z) dz by midpoints, [D], and the integral of p(z) dz."""
    z, weights = rules.midpoints(model.prior(params))

    @jax.jit
    def integrate(params, z, weights):
        def mean(z):
            return jnp.ravel(model.likelihood(params, z).mean)

        return weights @ jax.lax.map(mean, z, batch_size=_AT_ONCE), jnp.sum(weights)

    image, mass = integrate(params, z, weights)
    return np.asarray(image), float(mass)
