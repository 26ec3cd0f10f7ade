"""Configurations stand for what they name: the objective of each is that of the library."""

from functools import partial

import jax
import numpy as np
import pytest

from tests.config_of import config_of
from tests.exact import jit_once, linear_vae, random_encoder
from vae_jax import objectives
from vae_jax.config import Config, read, written
from vae_jax.models import draw_batch
from vae_jax.objectives import bounds, by_name, estimators, mmd
from vae_jax.runs import recipe

LINEAR = linear_vae(num_examples=4)
PARAMS = random_encoder(LINEAR.exact_params, 0)
NUM_EXAMPLES, STEPS_PER_EPOCH = 100, 7
STL, DREG = estimators.sticking_the_landing, estimators.doubly_reparameterised

WIRED = {
    "--objective=elbo --estimator=dreg": objectives.maximise(bounds.elbo, DREG),
    "--objective=iwae --estimator=stl": objectives.maximise(bounds.iwae, STL),
    "--objective=piwae": objectives.split(bounds.iwae, bounds.miwae(2)),
    "--objective=beta_tc": objectives.beta_tcvae(NUM_EXAMPLES, 4.0),
    "--objective=beta_tc --nostratified": objectives.beta_tcvae(
        NUM_EXAMPLES, 4.0, stratified=False
    ),
    "--objective=dip_i": objectives.dip_vae_i(10.0, 10.0),
    "--objective=dip_ii": objectives.dip_vae_ii(10.0, 10.0),
    "--objective=mmd": objectives.info_vae(1000.0, 0.1, mmd.rbf()),
    "--objective=wae": objectives.wae_mmd(1000.0, mmd.imq()),
}


@pytest.mark.parametrize("given", WIRED)
def test_a_name_stands_for_its_objective(given):
    config = config_of(*given.split()).settled()
    keys = jax.random.split(jax.random.key(0), (config.num_samples, len(LINEAR.x)))

    def loss(params, objective):
        draw_fn = partial(draw_batch, LINEAR.model, params, LINEAR.x, keys)
        return objective.loss((), 0, jax.random.key(1), draw_fn)[0]

    @jit_once
    def both(params):
        pair = (recipe.objective_of(config, NUM_EXAMPLES, STEPS_PER_EPOCH), WIRED[given])
        return [jax.value_and_grad(loss)(params, objective) for objective in pair]

    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *both(PARAMS))


@pytest.mark.parametrize(
    "given",
    [
        *(
            f"--objective={n}"
            for n, c in by_name.OBJECTIVES.items()
            if not c.of_layers and not c.of_labels and not c.of_codes
        ),
        "--objective=m2 --condition=partial_labels --label_weight=0.2",
        "--objective=codes --latents=vq --estimator=rotation --commitment=0.5 --codebook=gradient",
        *(f"--objective={n} --layers=3,2" for n, c in by_name.OBJECTIVES.items() if c.of_layers),
        "--nostratified",
    ],
)
def test_the_configuration_of_every_objective_survives_a_run_folder(given):
    given = ["--objective=beta_tc", given] if "stratified" in given else given.split()
    config = config_of(*given).settled()
    assert read(Config, written(config)) == config
    assert config.settled() == config
