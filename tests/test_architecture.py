"""The arrows of ARCHITECTURE.md, checked by reading the imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "vae_jax").rglob("*.py"))

# room -> the rooms of ours that it may import from
MAY_IMPORT = {
    "errors": set(),
    "cpu": set(),
    "distributions": {"cpu"},
    "networks": set(),
    "keys": {"cpu"},
    "locks": {"errors"},
    "processes": {"errors"},
    "data": {"cpu", "errors", "keys"},
    "figures": {"errors"},
    "disentanglement": set(),
    "models": {"distributions", "errors", "networks"},
    "objectives": {"distributions", "models", "networks"},
    "diagnostics": {"distributions", "models", "objectives", "evidence"},
    "evidence": {"distributions", "errors", "keys", "models", "networks", "objectives"},
    "training": {"cpu", "errors", "keys", "models", "objectives"},
    "verify": {
        "diagnostics",
        "distributions",
        "errors",
        "evidence",
        "models",
        "networks",
        "objectives",
    },
    "trained": {"distributions", "errors", "models", "processes", "training"},
    "config": {"errors", "models", "objectives"},
    "runs": {
        *("config", "data", "distributions", "errors", "evidence", "figures", "locks", "models"),
        *("objectives", "processes", "trained", "training"),
    },
    "evaluation": {
        *("config", "data", "diagnostics", "disentanglement", "distributions", "errors"),
        *("evidence", "figures", "locks", "models", "runs", "trained", "training"),
    },
    "compression": {"distributions", "errors", "models", "trained"},
    "export": {"distributions", "errors", "trained"},
    "commands": {
        *("evaluation", "compression", "export"),
        *("config", "data", "distributions", "errors", "evidence", "figures", "models"),
        *("processes", "runs", "training", "verify"),
    },
}
# Libraries that one room alone may import.
ONLY_IN = {
    "flax": {"networks"},
    "optax": {"objectives", "diagnostics", "training", "runs"},
    "matplotlib": {"figures"},
    "tensorflow_datasets": {"data"},
    "mlxtend": {"data"},
    "grain": {"data"},
    "sklearn": {"disentanglement", "data"},
    "anndata": {"data"},
    "PIL": {"data", "commands", "compression"},
    "constriction": {"compression"},
    "zstandard": {"compression"},
    "jax2onnx": {"export"},
    "filelock": {"locks"},
    "absl": {"commands"},
    "tqdm": {"runs"},
    "tensorboardX": {"runs"},
    "wandb": {"runs"},
}
NEVER = {"tensorflow", "torch", "pickle", "experiments", "tests"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    return path.relative_to(ROOT / "vae_jax").with_suffix("").parts[0]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_the_rooms_above_it(path):
    room = room_of(path)
    for module in imports(path):
        parts = module.split(".")
        assert parts[0] not in NEVER, module
        assert room in ONLY_IN.get(parts[0], {room}), module
        if room != "__init__" and parts[0] == "vae_jax" and len(parts) > 1:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], module


@pytest.mark.parametrize(
    "path",
    [*LIBRARY, *sorted((ROOT / "experiments").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_the_public_jax_api_is_used(path):
    assert not [m for m in imports(path) if m.startswith(("jax._", "jaxlib"))]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_progress_and_commands_print_and_few_files_open_others(path):
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    may_print = room_of(path) == "commands" or path.name in ("progress.py", "listeners.py")
    assert may_print or "print" not in calls
    may_open = room_of(path) == "data" or path.name in ("checkpoint.py", "files.py", "hosts.py")
    assert may_open or "open" not in calls


def test_every_room_is_in_the_table():
    assert {room_of(path) for path in LIBRARY} - {"__init__"} == set(MAY_IMPORT)
