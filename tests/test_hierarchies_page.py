"""docs/hierarchies.md names every inference, with what is true of it."""

import inspect
from pathlib import Path

import jax
import jax.numpy as jnp

from vae_jax.distributions import Chain
from vae_jax.models import hierarchy, kl_form
from vae_jax.models.hierarchy import INFERENCES

PAGE = (Path(__file__).parent.parent / "docs" / "hierarchies.md").read_text()


def test_the_table_is_that_of_the_flag_with_orders_kl_terms_and_papers():
    section = PAGE.partition("\n## Inference\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")][1:]
    rows = {line.split("`")[1]: [cell.strip() for cell in line.strip("|").split("|")]
            for line in lines}  # fmt: skip
    assert tuple(rows) == INFERENCES
    documented = inspect.getdoc(hierarchy) or ""
    for name, (_, _, order, kl_term, paper) in rows.items():
        model = hierarchy((2,), (2, 1), inference=name)
        params = model.init(jax.random.key(0), jnp.full(2, 0.5))
        q, p = model.posterior(params, jnp.zeros(2)), model.prior(params)
        assert isinstance(q, Chain)
        assert (order == "upwards") == (q.order == (0, 1))
        assert kl_term == kl_form(q, p)
        assert paper.partition(" ")[0] in documented
