"""The documentation: it builds without a warning, and names all that is public."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import types
from operator import attrgetter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import vae_jax
from tests import compiling

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def public(room, found=None):
    """All public objects of a room, by their names, with those of the rooms within it."""
    found = {} if found is None else found
    defined = (n for n, value in vars(room).items() if is_of(room, value) and n[0] != "_")
    for name in getattr(room, "__all__", defined):
        value = getattr(room, name)
        full_name = f"{room.__name__}.{name}"
        if isinstance(value, types.ModuleType):
            if value.__name__ not in found:
                found[value.__name__] = value
                public(value, found)
        else:
            found[full_name] = value
    return found


def is_of(room, value):
    return getattr(value, "__module__", None) == room.__name__


def named(path):
    """The objects that a name such as vae_jax.models.vae can mean, a module in the end excepted."""
    parts = path.split(".")
    for end in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:end]))
        try:
            yield attrgetter(".".join(parts[end:]))(module)
        except AttributeError:
            continue


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the documentation, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    options = ("-q", "--fail-on-warning", "--keep-going", "-c", "docs")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_no_public_name_is_missing_from_the_reference(site):
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = [
        name
        for role in inventory
        if role.startswith("py:") and role != "py:module"
        for name in inventory[role]
    ]
    documented = {id(importlib.import_module(name)) for name in inventory["py:module"]}
    documented |= {id(value) for name in names for value in named(name)}
    missing = [
        name
        for name, value in public(vae_jax).items()
        if id(value) not in documented and inspect.getdoc(value) and not is_a_house(value)
    ]
    assert missing == []


def is_a_house(value):
    """Whether it is a package whose rooms alone are public, such as `diagnostics`."""
    names = getattr(value, "__all__", ())
    return bool(names) and all(isinstance(getattr(value, n), types.ModuleType) for n in names)


@pytest.mark.slow
def test_every_local_link_and_picture_of_the_site_is_there(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    links = [
        (page, unquote(urlsplit(link).path))
        for page in pages
        for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text())
        if not re.match(r"[a-z]+:|#|$", link)
    ]
    assert len(links) > 1000
    gone = [(page.name, link) for page, link in links if not (page.parent / link).exists()]
    assert gone == []


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    """No script, style or picture is of another host, so that it works from a folder."""
    for page in site.rglob("*.html"):
        foreign = re.findall(
            r'<(?:script|link|img)[^>]*(?:href|src)="(?:https?:)?//', page.read_text()
        )
        assert foreign == [], page


def text_of(outputs):
    """The words that a cell prints, # for numbers and folders, and the kinds of what it shows."""
    # What is printed comes in pieces, whose number depends on the speed of the machine.
    printed = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stdout")
    shown = [kind for output in outputs for kind in sorted(output.get("data", []))]
    words = re.sub(r"-?[\d.,]*\d\S*", "# ", re.sub(r"\S*/\S*", "# ", printed)).split()
    return " ".join(words), shown


@pytest.mark.slow
# Libraries of Jupyter warn of each other.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_is_kept_in_it(path, tmp_path, monkeypatch):
    import nbformat
    from nbconvert.preprocessors import ExecutePreprocessor

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", compiling.ON_ONE_CORE)
    notebook = nbformat.read(path, as_version=4)
    kept = [cell.get("outputs", []) for cell in notebook.cells]
    run = ExecutePreprocessor(timeout=600, kernel_name="python3")
    run.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    for before, cell in zip(kept, notebook.cells, strict=True):
        printed = text_of(cell.get("outputs", []))
        assert printed == text_of(before), cell.source


def test_the_notebooks_are_kept_with_their_outputs():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1)), path
        assert any(cell.get("outputs") for cell in cells), path
        assert "error" not in {o["output_type"] for cell in cells for o in cell.get("outputs", [])}
