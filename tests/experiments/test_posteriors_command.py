"""The figure of posteriors over two latents, by its command and in its parts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import posteriors
from vae_jax import figures
from vae_jax.evidence import quadrature
from vae_jax.runs import load_run


@pytest.mark.slow
def test_families_are_fitted_to_the_decoder_of_the_run(command, finished):
    result = command.call(
        "posteriors",
        *("--run=finished", "--posteriors=diagonal,full,uha", "--epochs=2", "--num_images=2"),
    )
    assert result.code == 0, result.err
    folder = command.folder / "finished" / "posteriors"
    run = load_run(command.folder / "finished")
    gaps = json.loads((folder / "posteriors.json").read_text())
    for name, of in gaps.items():
        assert f"| {name} | {np.mean(of):.3f} |" in result.out
        assert np.all(np.array(of) > -0.1)  # a KL divergence, but for the noise of the ELBO
        fitted = load_run(folder / name)
        for part in ("decoder", "likelihood"):
            jax.tree.map(np.testing.assert_array_equal, fitted.params[part], run.params[part])
        assert fitted.config.posterior == name
    assert (folder / "posteriors.png").stat().st_size > 10_000
    x = jnp.asarray(run.as_evaluated(run.with_data().loaded_examples.test[:1].x))
    exact = posteriors.exact_posteriors(run, x)
    known = jax.jit(lambda one: quadrature.integrate(run.model, run.params, one))(x[0])
    np.testing.assert_allclose(exact.log_evidence[0], known.log_evidence, atol=1e-3)
    # The box holds all but a little of p(z|x): the grid has the mass of the evidence.
    cell = np.prod((exact.boxes[0, 1::2] - exact.boxes[0, ::2]) / (posteriors._POINTS - 1))
    mass = np.exp(exact.log_posterior[0] - exact.log_evidence[0]).sum() * cell
    np.testing.assert_allclose(mass, 1.0, atol=2e-3)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "--run is missing"),
        (("--run=finished", "--posteriors=gauss"), "--posteriors=gauss must be some of diagonal"),
        (("--run=finished", "--posteriors="), "must be some of diagonal"),
    ],
)
def test_bad_input_is_one_sentence(command, given, message):
    result = command.call("posteriors", *given)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_contours_hold_half_and_nine_tenths_of_the_mass():
    """The contours of a normal density are circles of radii sqrt(2 log 2) and sqrt(2 log 10)."""
    axis = np.linspace(-4.0, 4.0, 201)
    log_q = -0.5 * (axis[:, None] ** 2 + axis[None] ** 2)
    box = np.array([[-4.0, 4.0, -4.0, 4.0]])
    figure = figures.posterior_contours(
        np.zeros((1, 3, 3, 1)), box, log_q[None], {"normal": log_q[None]}, {"normal": [0.25]}
    )
    panel = figure.axes[1]
    assert panel.get_title() == "normal\n0.25 nats"
    radii = sorted(
        float(np.linalg.norm(path.vertices, axis=1).mean())
        for collection in panel.collections
        for path in collection.get_paths()
        if len(path.vertices)
    )
    np.testing.assert_allclose(radii, np.sqrt(2 * np.log([2.0, 10.0])), rtol=0.02)
    with pytest.raises(ValueError, match="other has the shape"):
        figures.posterior_contours(np.zeros((1, 3, 3, 1)), box, log_q[None], {"other": log_q})
