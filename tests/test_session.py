"""The session of README.md where users have it: in a notebook, and from a wheel."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture
def session():
    """The lines of the session, shortened to one epoch."""
    (example,) = re.findall(r"```python\n(.*?)```", README.partition("## From Python")[2], re.S)[:1]
    return example.replace("epochs=10", "epochs=1").splitlines()


@pytest.mark.slow
# Libraries of Jupyter warn of each other.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_session_runs_in_a_notebook(session, tmp_path, monkeypatch):
    import nbformat
    from nbconvert.preprocessors import ExecutePreprocessor

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [nbformat.v4.new_code_cell(line) for line in session]
    notebook = nbformat.v4.new_notebook(cells=cells)
    run = ExecutePreprocessor(timeout=300, kernel_name="python3")
    run.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    errors = [out for cell in notebook.cells for out in cell.outputs if out.output_type == "error"]
    assert errors == []
    assert "test NLL" in said[3]
    # The bar of a terminal is drawn on stderr where a notebook has no widgets.
    assert re.search(r"Training: epoch 1/1", said[2])
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "runs" / "a" / "report.html").exists()


@pytest.mark.slow
def test_the_session_and_the_command_run_from_a_wheel(session, tmp_path):
    """Its files alone, where nothing of the checkout can be imported."""

    def call(*arguments, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout

    pip = ("-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--wheel-dir=.", str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    call(*pip, "install", "--no-deps", "--target=installed", str(wheel))
    code = "\n".join(
        [
            *session,
            "import sys",
            "assert not any(name.split('.')[0] == 'experiments' for name in sys.modules)",
            "print(vj.__file__)",
        ]
    )
    installed = tmp_path / "installed"
    assert "experiments" not in os.listdir(installed)
    out = call("-c", code, PYTHONPATH=str(installed))
    assert "test NLL" in out
    assert out.splitlines()[-1] == str(installed / "vae_jax" / "__init__.py")
    main = "from vae_jax.commands.main import main; main()"
    arguments = ("sample", "runs/a", "3", "--out=x.npz")
    call("-c", main, *arguments, PYTHONPATH=str(installed))
    assert (tmp_path / "x.npz").stat().st_size > 3 * 28 * 28
