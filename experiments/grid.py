"""The grid of a sweep: which runs --num_seeds and --sweep ask for."""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from absl import flags

from experiments import objectives, settings
from vae_jax.errors import BadInputError
from vae_jax.training import sweep
from vae_jax.training.sweep import Memory, Plan

FLAGS = flags.FLAGS
SWEPT = [*settings.NUMBERS, *settings.SHAPES, "seed"]

flags.DEFINE_integer(
    "num_seeds", 1, "How many seeds, from --seed on, to train side by side.", lower_bound=1
)
flags.DEFINE_multi_string(
    "sweep",
    [],
    "NAME=VALUE,VALUE,...: trains one run for each of these values of a flag; several --sweep, and "
    f"the seeds, multiply. What can be swept: {', '.join(SWEPT)}. Widths of --hidden are joined by "
    "x: --sweep=hidden=300x300,500. Runs that differ in numbers or seeds are one program. Without "
    "--objective, beta or an option of one objective alone chooses that objective.",
)
flags.DEFINE_integer(
    "num_devices",
    None,
    "Devices that share the runs of a program, or the batch of a single run, of all processes "
    "together. Default: for several runs as many as save time, each core of a CPU being one; for a "
    "single run as many as divide its batch, and on a CPU one.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "lanes_at_once",
    None,
    "Runs of a program that a device trains at the same time. Default: on the CPU one, elsewhere "
    "as many as its memory holds.",
    lower_bound=1,
)


class Point(NamedTuple):
    """One run of the grid."""

    values: dict[str, str]  # flag -> text, those that are swept, the seed last
    flags: dict[str, str]  # all flags of the run, as `settings.as_text`
    numbers: dict[str, float]  # see `settings.numbers`
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, such as beta=2,seed=0."""
        return ",".join(f"{name}={value}" for name, value in self.values.items())

    @property
    def program(self) -> tuple[tuple[str, str], ...]:
        """What must be equal in runs of one program."""
        own = {*self.numbers, "seed"}
        return tuple((name, text) for name, text in self.flags.items() if name not in own)


def is_asked_for() -> bool:
    """Whether the flags ask for more than one run."""
    return FLAGS.num_seeds > 1 or bool(_swept())


def as_text() -> dict[str, str]:
    """The flags that make the grid, as `settings.as_text`; several --sweep with spaces between."""
    return {"num_seeds": str(FLAGS.num_seeds), "sweep": " ".join(_swept())}


def hardware_as_text() -> dict[str, str]:
    """The flags that say what trains the runs, as `settings.as_text`."""
    given = {name: FLAGS[name].value for name in ("num_devices", "lanes_at_once")}
    return {name: str(value) for name, value in given.items() if value is not None}


def choose_objective() -> None:
    """Takes the objective that a swept option is of, if no --objective is given.

    It is the one that has the option, or that of the same name; which is said.
    """
    axes = _axes()
    if "objective" in axes or FLAGS["objective"].present:
        return
    for option in axes:
        users = objectives.users_of(option)
        if users and FLAGS.objective not in users:
            namesake_or_only = option if option in users else next(iter(users))
            if namesake_or_only == option or len(users) == 1:
                FLAGS.objective = namesake_or_only
                print(f"--sweep={option} without --objective: --objective={FLAGS.objective}.")
                return


def most_side_by_side() -> int:
    """How many runs one program trains."""
    of_one = [values for name, values in _axes().items() if name not in settings.SHAPES]
    return math.prod(len(values) for values in of_one)


def points() -> list[Point]:
    """The runs of the grid, in the order of the flags, seeds innermost.

    Raises:
      BadInputError: a flag cannot be swept, a value does not parse, or flags do not go together.
    """
    axes = _axes()
    found = []
    for combination in itertools.product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        with flags_set_to(values):
            objectives.settle()
            found.append(Point(values, settings.as_text(), settings.numbers(), FLAGS.seed))
    names: dict[tuple[str, ...], str] = {}
    for point in found:
        other = names.setdefault(tuple(point.flags.values()), point.name)
        if other != point.name:
            raise BadInputError(f"--sweep: {other} and {point.name} are the same run.")
    return found


def plan_of(num_devices: int | None, axis: str | None = None) -> Callable[..., Plan]:
    """`sweep.plan` as the flags want it."""
    return functools.partial(
        sweep.plan, axis=axis, num_devices=num_devices, lanes_at_once=FLAGS.lanes_at_once
    )


def check_devices(num_runs: int, batch_size: int) -> None:
    """Raises a BadInputError if --num_devices does not divide the runs of a program."""
    try:
        plan_of(FLAGS.num_devices)(num_runs, batch_size, lambda: Memory(0, 0, 1))
    except ValueError as error:
        raise BadInputError(f"--{error}") from error


@contextmanager
def flags_set_to(values: Mapping[str, str]) -> Iterator[None]:
    """Gives flags other values, and takes back whatever changes them meanwhile.

    Raises:
      BadInputError: a value does not parse.
    """
    before = {name: FLAGS[name].value for name in settings.flag_names()}
    try:
        for name, text in values.items():
            try:
                text = text.replace("x", ",") if name == "hidden" else text
                setattr(FLAGS, name, FLAGS[name].parser.parse(text))
            except (flags.Error, ValueError, TypeError) as error:
                raise BadInputError(f"--sweep={name}: the value {text!r}: {error}") from error
        yield
    finally:
        for name, value in before.items():
            FLAGS[name].value = value


def _swept() -> list[str]:
    """The axes as NAME=VALUE,VALUE,...; a --sweep of flags.cfg may hold none or several of them."""
    return [axis for text in FLAGS.sweep for axis in re.split(r"\s+(?=\w+=)", text.strip()) if axis]


def _axes() -> dict[str, list[str]]:
    """Flag -> its values, the seed last."""
    axes: dict[str, list[str]] = {}
    for text in _swept():
        name, _, listed = text.partition("=")
        name, values = name.strip(), [value.strip() for value in listed.split(",")]
        if name not in SWEPT:
            raise BadInputError(
                f"--sweep={text}: {name!r} cannot be swept; what can: {', '.join(SWEPT)}."
            )
        if name in axes:
            raise BadInputError(f"--sweep={name} is given twice: put all its values into one.")
        if "" in values or len(set(values)) < len(values):
            raise BadInputError(
                f"--sweep={text}: wanted different values with commas between them, such as "
                "--sweep=learning_rate=1e-3,3e-4."
            )
        axes[name] = values
    if "seed" in axes and FLAGS.num_seeds > 1:
        raise BadInputError("--num_seeds and --sweep=seed=... both choose seeds: give one of them.")
    seeds = axes.pop("seed", [str(FLAGS.seed + index) for index in range(FLAGS.num_seeds)])
    return {**axes, "seed": seeds}
