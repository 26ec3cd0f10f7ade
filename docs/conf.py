"""The documentation site: pages of this folder, and the reference from the docstrings."""

import ast
import dataclasses
import inspect
import sys
import textwrap
import tokenize
from functools import cache

import jax

import vae_jax

project = "vae_jax"
author = "the authors of vae_jax"
version = release = vae_jax.__version__

root_doc = "docs/index"
# The source folder is that of the whole project, so that a link between two pages is the same here
# as in the repository.
include_patterns = ["docs/**", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"]
exclude_patterns = [".venv", "build", "runs", "site"]
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]

# Pages.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks are kept with their outputs, which a test renews

# The reference.
default_role = "py:obj"  # a link where the name is known, code where it is not
add_module_names = False
autodoc_default_options = {"special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False  # the signature of the class has them
python_use_unqualified_type_names = True
jax.Array.__module__ = "jax"  # the name by which everybody knows it

# How it looks.
html_theme = "furo"
html_title = "vae_jax"
html_extra_path = ["site"]
html_copy_source = False


@cache
def field_comments(owner: type) -> dict[str, str]:
    """The comments that stand behind the fields of a class, by the field's name."""
    lines = textwrap.dedent(inspect.getsource(owner)).splitlines()
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(iter([line + "\n" for line in lines]).__next__)
        if token.type == tokenize.COMMENT
    }
    statements = ast.parse("\n".join(lines)).body[0].body
    ends = {
        node.target.id: node.end_lineno for node in statements if isinstance(node, ast.AnnAssign)
    }
    return {name: comments[end] for name, end in ends.items() if end in comments}


def plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Takes docstrings as plain text with `code`: a star is a star, as in the shape [*event].

    The comments behind the fields of a class become the section that says what they are.
    """
    has_fields = dataclasses.is_dataclass(obj) or hasattr(obj, "_fields")
    if has_fields and "Attributes:" not in lines and (comments := field_comments(obj)):
        lines += ["", "Attributes:", *(f"    {name}: {text}" for name, text in comments.items())]
    lines[:] = [line.replace("*", "\\*").replace("|", "\\|") for line in lines]


def without_comment(app, what, name, obj, skip, options) -> bool | None:
    """Leaves out what a named tuple says of its fields when nothing was said."""
    return True if (inspect.getdoc(obj) or "").startswith("Alias for field number") else None


def without_arguments(app, what, name, obj, options, signature, returns):
    """A protocol is not made of arguments."""
    return ("", None) if getattr(obj, "_is_protocol", False) else None


def home_of(app, module: str, name: str | None) -> str | None:
    """The module of a name such as `Metrics`, whose value, a dict[...], is one of Python's own."""
    value = getattr(sys.modules.get(module), name, None) if name else None
    return module if getattr(value, "__module__", None) == "builtins" else None


def setup(app) -> None:
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", without_comment)
    app.connect("autodoc-process-signature", without_arguments)
    app.connect("viewcode-follow-imported", home_of)
