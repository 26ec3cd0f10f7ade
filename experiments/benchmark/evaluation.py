"""Part "evaluation": the evidence of a few images by importance sampling."""

import jax

from experiments.benchmark import cases, matrix_products
from experiments.benchmark.rounds import Row, interleaved, rows_of
from vae_jax import data, evidence

PART = "evaluation"
_SAMPLES_AT_ONCE = 50


def measure(rounds: int) -> list[Row]:
    """Measures the time of an image for the estimate, and for its matrix products alone."""
    case = cases.EVALUATION
    pixels = case.pixels()
    model = case.model()
    params = model.init(jax.random.key(0), data.mean_example(pixels))
    estimate = evidence.make_importance_sampler(
        model,
        case.num_samples,
        binarise=data.threshold,
        examples_at_once=case.batch_size,
        samples_at_once=_SAMPLES_AT_ONCE,
    )
    seconds = interleaved(
        {
            matrix_products.NAME: matrix_products.evaluation(case, _SAMPLES_AT_ONCE),
            "vae_jax": lambda: estimate(params, pixels, jax.random.key(1)),
        },
        rounds,
    )
    return rows_of(
        part=PART,
        case=f"log p(x) with K={case.num_samples}, {case.network}",
        unit="ms/image",
        seconds=seconds,
        units=case.num_images,
        images=1,
        reference=matrix_products.NAME,
    )
