"""A new prior of a finished run: encoder and decoder stay, and the evidence is what it should."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from vae_jax import data, evidence
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs.new_prior import parsed

RNG = np.random.default_rng(0)
# Four kinds of grey pictures, which a run lays out beside each other.
KINDS = RNG.integers(0, 2, (4, 4, 4)) * 175 + 40
DATASET = data.from_arrays(KINDS[np.arange(400) % 4].astype(np.uint8))
SMALL = Config(
    latent_dim=2,
    hidden=(16,),
    network="mlp",
    epochs=40,
    batch_size=20,
    learning_rate=1e-2,
    nll_samples=50,
    warmup_steps=0,
    objective="beta",
    binarisation="dynamic",
    beta=0.1,  # so that the aggregate posterior is far from the prior
    anneal="none",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return vj.fit(SMALL, DATASET, tmp_path_factory.mktemp("runs") / "old", listeners=[])


def log_evidence(model, params, x):
    integrate = jax.jit(lambda one: evidence.quadrature.integrate(model, params, one)[:2])
    values, errors = np.array([integrate(one) for one in x]).T
    assert errors.max() < 0.01
    return values


def by_samples_of_the_prior(run, x, num_samples=20_000):
    z = run.vae.sample_prior(jax.random.key(1), num_samples)

    def of_one(x):
        log_p = jax.vmap(lambda z: run.model.likelihood(run.params, z).log_prob(x))(z)
        return jax.nn.logsumexp(log_p) - np.log(num_samples)

    return np.asarray(jax.jit(jax.vmap(of_one))(x))


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["gmm:8", "vamp:6", "flow:spline"])
def test_a_new_prior_raises_the_elbo_and_nothing_else_changes(run, tmp_path, prior):
    options = {"weight_decay": 0.01}  # of the prior alone
    if prior.startswith("flow"):
        options |= {"num_flows": 2, "flow_hidden": (8,)}
    found = vj.fit_prior(
        run,
        prior,
        tmp_path / "new",
        epochs=40,
        learning_rate=0.03,
        dataset=DATASET,
        listeners=[],
        **options,
    )
    after = found.after
    for name in ("encoder", "decoder", "posterior", "likelihood"):
        jax.tree.map(np.testing.assert_array_equal, after.params[name], run.params[name])
    x = jnp.asarray(run.as_evaluated(DATASET.test.x[:4]))
    old, new = (log_evidence(each.model, each.params, x) for each in (run, after))
    elbos = [row["train_elbo"] for row in after.history]
    assert elbos[-1] > elbos[0]
    if not prior.startswith("vamp"):  # six encoded pictures are fewer than a normal prior knows
        assert new.mean() > old.mean() + 0.05
        assert after.summary["test_elbo"] > run.summary["test_elbo"] + 0.05
    # The samples of each prior and its density are of one distribution, by p(x) = E[p(x|z)].
    for each, exact in ((run, old), (after, new)):
        np.testing.assert_allclose(by_samples_of_the_prior(each, x), exact, atol=0.15)
        bound = evidence.make_importance_sampler(each.model, 50)(each.params, x, jax.random.key(0))
        assert bound.elbo.mean() < exact.mean()
    difference = after.summary["test_nll"] - run.summary["test_nll"]
    assert f"{difference:+.3f}" in str(found)
    assert (after.folder.figures / "priors.png").exists()
    assert "priors" not in json.dumps(run.summary)
    # Its folder is that of a run.
    loaded = vj.load(tmp_path / "new")
    assert (loaded.config.train_only, loaded.config.objective) == ("prior", "elbo")
    assert loaded.sample(jax.random.key(0), 3).shape == (3, 4, 4, 1)


@pytest.mark.slow
def test_the_same_call_goes_on_and_gives_the_same(run, tmp_path):
    options = {"dataset": DATASET, "listeners": []}
    whole = vj.fit_prior(run, "gmm:3", tmp_path / "whole", epochs=4, **options).after
    vj.fit_prior(run, "gmm:3", tmp_path / "parts", epochs=4, **options)
    newest = sorted((tmp_path / "parts" / "checkpoints").glob("epoch-*.npz"))[-1]
    newest.unlink()
    (tmp_path / "parts" / "summary.json").unlink()
    parts = vj.fit_prior(run, "gmm:3", tmp_path / "parts", epochs=4, **options).after
    jax.tree.map(np.testing.assert_array_equal, whole.params, parts.params)
    assert whole.summary["test_nll"] == parts.summary["test_nll"]


@pytest.mark.slow
def test_a_run_starts_with_the_parameters_of_another(run, tmp_path):
    config = dataclasses.replace(
        SMALL, start=str(run.folder.path), epochs=1, learning_rate=1e-12, keep="last"
    )
    found = vj.fit(config, DATASET, tmp_path / "on", listeners=[])
    close = jax.tree.map(
        lambda ours, theirs: float(jnp.max(jnp.abs(ours - theirs))), found.params, run.params
    )
    assert max(jax.tree.leaves(close)) < 1e-5
    other = dataclasses.replace(config, latent_dim=3)
    with pytest.raises(BadInputError, match="holds a run with latent_dim=2, and this one has"):
        vj.fit(other, DATASET, tmp_path / "other", listeners=[])
    nothing = dataclasses.replace(config, start=str(tmp_path))
    with pytest.raises(BadInputError, match=r"start=.* holds no flags.cfg, as the folder of a run"):
        vj.fit(nothing, DATASET, tmp_path / "nothing", listeners=[])


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("gmm:50", {"prior": "mixture", "prior_components": 50}),
        ("mixture", {"prior": "mixture"}),
        ("vamp:7", {"prior": "vamp", "prior_components": 7}),
        ("flow:iaf", {"prior": "flow", "prior_flow": "iaf"}),
        ("autoregressive", {"prior": "autoregressive"}),
    ],
)
def test_priors_are_read(text, fields):
    assert parsed(text) == fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal", "prior=normal is unknown: use gmm:N or mixture, vamp, exemplar, "),
        ("gmn:5", "prior=gmn:5 is unknown"),
        ("gmm:0", "prior=gmm:0: after the colon is the number of components"),
        ("vamp:many", "prior=vamp:many: after the colon"),
        ("autoregressive:3", "prior=autoregressive:3: after the colon"),
    ],
)
def test_what_is_no_prior_is_one_sentence(text, message):
    with pytest.raises(BadInputError, match=message):
        parsed(text)


def test_a_model_of_the_user_is_not_trained_in_part(tmp_path):
    config = Config(train_only="encoder", start=str(tmp_path))
    with pytest.raises(BadInputError, match="train_only=encoder is for models of a configuration"):
        vj.fit(config, DATASET, tmp_path / "run", model=vj.vae((4, 4, 1), 2), listeners=[])


def test_a_sweep_starts_at_a_run_or_says_so(tmp_path):
    config = dataclasses.replace(SMALL, start=str(tmp_path / "nowhere"))
    with pytest.raises(BadInputError, match=r"start=.*nowhere holds no flags.cfg"):
        vj.sweep(config, vj.Grid(2), workdir=tmp_path / "sweep", listeners=[])


def test_training_a_prior_alone_needs_a_start_and_a_prior():
    with pytest.raises(BadInputError, match="train_only=prior needs start, the folder"):
        Config(train_only="prior", prior="vamp")
    with pytest.raises(BadInputError, match="needs a prior with parameters, and prior=normal"):
        Config(train_only="prior", start="runs/a")
