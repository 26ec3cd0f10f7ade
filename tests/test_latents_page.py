"""docs/latents.md names every posterior and every prior, with what is true of it."""

import inspect
from pathlib import Path

import pytest

from vae_jax import models
from vae_jax.config import Config
from vae_jax.config.dependent import OF_FLOWS, OF_POSTERIORS, OF_PRIORS
from vae_jax.models import flows, heads, priors
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.models.spec import CAUSAL, PRIORS

PAGE = (Path(__file__).parent.parent / "docs" / "latents.md").read_text()


OF_CAUSAL = [
    ("prior_width", CAUSAL),
    ("prior_layers", CAUSAL),
    ("causal_kernel", ("pixelcnn",)),
    ("causal_heads", ("transformer",)),
]


def rows(title):
    """The cells of the table under a title, without backticks."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")][1:]
    return {
        line.split("`")[1]: [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in lines
    }


def function(name):
    module, _, rest = name.partition(".")
    rooms = {"heads": heads, "flows": flows, "priors": priors, "models": models}
    return getattr(rooms[module], rest)


def default_of(name, user):
    """The default of an option as on a command line; that of a table where it has none itself."""
    known = Config.OPTIONS[name]
    return known.write(PRIORS[user] if known.default is None else known.default)


@pytest.mark.parametrize(
    ("title", "table", "own"),
    [("Posteriors", POSTERIORS, OF_POSTERIORS), ("Priors", PRIORS, OF_PRIORS)],
    ids=["posteriors", "priors"],
)
def test_the_tables_are_those_of_the_flags_with_their_options_and_papers(title, table, own):
    found = rows(title)
    assert list(found) == list(table)
    for name, (_, equation, function_name, options, *_, paper) in found.items():
        assert equation, name
        given = dict(option[2:].split("=") for option in options.split())
        wanted = {
            option: default_of(option, name)
            for option, users in [*own.items(), *OF_FLOWS.items(), *OF_CAUSAL]
            if name in users
        }
        assert given == wanted, name
        documented = inspect.getdoc(function(function_name)) or ""
        module = inspect.getmodule(function(function_name))
        author = paper.rpartition(" ")[0].partition(" ")[0]
        assert author in documented + (inspect.getdoc(module) or "") or name == "normal", name


def test_what_a_posterior_can_do_is_what_its_row_says():
    for name, (*_, at_any_z, kl, _) in rows("Posteriors").items():
        assert at_any_z.startswith("yes") == POSTERIORS[name].has_log_prob, name
        assert (kl == "closed form") == POSTERIORS[name].has_closed_kl, name
