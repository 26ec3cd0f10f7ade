"""Flags, made from the options of configurations; and their help text."""

import re
import textwrap
from collections.abc import Callable
from typing import Any

from absl import flags

from vae_jax.config import Config, Grid, Hardware, Option
from vae_jax.config.grid import HELP
from vae_jax.config.option import Configuration
from vae_jax.errors import BadInputError
from vae_jax.runs import Run, finished

FLAGS = flags.FLAGS
_WIDTH = 96
_INTRODUCED: dict[str, Option] = {}  # flags whose help text is grouped


class _Parser(flags.ArgumentParser):
    """Parses a flag as its option does."""

    def __init__(self, known: Option):
        self.syntactic_help = ""
        self._known = known

    def parse(self, argument: Any) -> Any:
        value = self._known.parse(argument) if isinstance(argument, str) else argument
        return self._known.check(value)

    def flag_type(self) -> str:
        return self._known.kind.__name__


def define(options: type[Configuration], *names: str) -> None:
    """Defines a flag for each option of a configuration, or only for the options in `names`."""
    for known in options.OPTIONS.values():
        if names and known.name not in names:
            continue
        _INTRODUCED[known.name] = known
        if known.kind is bool:
            flags.DEFINE_bool(known.name, known.default, known.help)
        else:
            flags.DEFINE(_Parser(known), known.name, known.default, known.help)


def define_one(name: str, kind: type, default: Any, help: str, group: str, **known: Any) -> None:
    """Defines a flag that belongs to a command and to no configuration; see `Option`."""
    option = Option(
        name=name,
        kind=kind,
        optional=default is None,
        default=default,
        help=help,
        group=group,
        **known,
    )
    _INTRODUCED[name] = option
    if kind is bool:
        flags.DEFINE_bool(name, default, help)
    else:
        flags.DEFINE(_Parser(option), name, default, help)


def define_grid() -> None:
    """Defines the flags of a sweep."""
    define_one("num_seeds", int, 1, HELP["num_seeds"], "sweep", low=1, first=True)
    _INTRODUCED["sweep"] = Option("sweep", str, True, None, HELP["sweep"], "sweep", first=True)
    flags.DEFINE_multi_string("sweep", [], HELP["sweep"])


def config() -> Config:
    """The configuration that the flags ask for.

    Raises:
      BadInputError: flags contradict each other.
    """
    values: dict[str, Any] = {name: FLAGS[name].value for name in Config.OPTIONS}
    return Config(**values)


def given(options: type[Configuration]) -> dict[str, Any]:
    """The flags of a configuration that the command line or a --flagfile sets: name -> value."""
    names = [name for name in options.OPTIONS if name in FLAGS and FLAGS[name].present]
    return {name: FLAGS[name].value for name in names}


def hardware() -> Hardware:
    """The hardware that the flags ask for."""
    values: dict[str, Any] = {name: FLAGS[name].value for name in Hardware.OPTIONS}
    return Hardware(**values)


def grid() -> Grid:
    """The grid that the flags ask for."""
    return Grid(FLAGS.num_seeds, tuple(FLAGS.sweep))


def value_of(name: str) -> Any:
    """The value of a flag."""
    return FLAGS[name].value


def in_words(text: str) -> str:
    """A message of the library in the words of the command: `name=` becomes `--name=`."""

    def dashed(match):
        return f"--{match[0]}" if match[1] in FLAGS else match[0]

    return re.sub(r"(?<![\w/,.'-])(\w+)=", dashed, text)


def help_text(about: str, *, full: bool) -> str:
    """The text that --help and --helpfull print: flags by their groups.

    about: purpose of the command.
    """
    shown = {name: known for name, known in _INTRODUCED.items() if full or known.first}
    groups: dict[str, list[Option]] = {}
    for known in shown.values():
        groups.setdefault(known.group, []).append(known)
    parts = [about.strip()]
    for group, options in groups.items():
        parts.append(f"{group}:\n" + "\n".join(_described(known) for known in options))
    if len(shown) < len(_INTRODUCED):
        parts.append(f"--helpfull shows all {len(_INTRODUCED)} flags.")
    return "\n\n".join(parts)


def _described(known: Option) -> str:
    value = {bool: "", tuple: "=N,N", str: "=NAME", int: "=N", float: "=X"}[known.kind]
    default = "" if known.default is None else f" Default: {known.write(known.default)}."
    choices = f" One of {', '.join(known.choices)}." if known.choices else ""
    body = textwrap.wrap(known.help + choices + default, _WIDTH - 6)
    return "\n".join([f"  --{known.name}{value}", *(f"      {line}" for line in body)])


_MOVED = ("dataset", "data_dir", "stream")


def define_moved() -> None:
    """Defines the flags that say where the images of a run are now."""
    for name, kind, text in (
        ("dataset", str, "Where the examples of the run are now, if they have moved."),
        ("data_dir", str, "Where TensorFlow Datasets keeps them now. Default: where it did."),
        ("stream", bool, "Whether to read training data from their files. Default: as training."),
    ):
        define_one(name, kind, None, text, "data")


def refuse_moved() -> None:
    """Raises a BadInputError if a flag of `define_moved` is given, for commands without a run."""
    for name in _MOVED:
        if FLAGS[name].present:
            raise BadInputError(f"--{name} says where the examples of a run are: --run names it.")


def finished_run(path: str, require: Callable[[Run], object] = lambda run: None) -> Run:
    """Calls `runs.finished_run`. Its images are where the flags of `define_moved` say."""
    moved = {name: FLAGS[name].value for name in _MOVED}
    return finished.finished_run(
        path, **moved, require=require, say=lambda text: print(text, flush=True)
    )
