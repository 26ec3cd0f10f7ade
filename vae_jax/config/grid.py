"""The grid of a sweep: the runs of a configuration with several seeds and values."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.config.config import Config
from vae_jax.config.option import written
from vae_jax.errors import BadInputError
from vae_jax.objectives import by_name

SWEPT = [name for name, known in Config.OPTIONS.items() if known.swept] + ["seed"]
HELP = {
    "num_seeds": "How many seeds, from the seed on, to train side by side.",
    "sweep": (
        "NAME=VALUE,VALUE,...: trains one run for each of these values of a flag; several of "
        f"these, and the seeds, multiply. What can be swept: {', '.join(SWEPT)}. Widths of hidden "
        "are joined by x: hidden=300x300,500. Runs that differ in numbers or seeds are one "
        "program. Without an objective, beta or an option of one objective alone chooses that "
        "objective."
    ),
}


class Grid(NamedTuple):
    """The seeds and values of a sweep. Every combination is a run.

    Attributes:
      num_seeds: number of seeds, the first of which is the seed of the configuration.
      sweep: axes as texts NAME=VALUE,VALUE,... or as a mapping from names to values.
    """

    num_seeds: int = 1
    sweep: Sequence[str] | Mapping[str, Sequence[Any]] = ()

    @property
    def is_single(self) -> bool:
        """Whether the grid has one run only, which needs no folder of a sweep."""
        return self.num_seeds == 1 and not self.axes()

    def axes(self) -> dict[str, list[str]]:
        """Field -> its different values as texts. A text of `sweep` may hold several axes, or none.

        Raises:
          BadInputError: a field cannot be swept, or values are missing or equal.
        """
        if isinstance(self.sweep, Mapping):
            given = [(name, list(values)) for name, values in self.sweep.items()]
        else:
            texts = [axis for text in self.sweep for axis in re.split(r"\s+(?=\w+=)", text.strip())]
            pairs = (axis.partition("=") for axis in texts if axis)
            given = [(name.strip(), listed.split(",")) for name, _, listed in pairs]
        axes: dict[str, list[str]] = {}
        for name, values in given:
            if name not in SWEPT:
                raise BadInputError(
                    f"sweep={name}: {name!r} cannot be swept; what can: {', '.join(SWEPT)}."
                )
            if name in axes:
                raise BadInputError(f"sweep={name} is given twice: put all its values into one.")
            axes[name] = [_text_of(name, value) for value in values]
            if "" in axes[name] or not values or len(set(axes[name])) < len(values):
                raise BadInputError(
                    f"sweep={name}={','.join(map(str, values))} must be different values with "
                    "commas between them, such as sweep=learning_rate=1e-3,3e-4."
                )
        return axes

    def written(self) -> dict[str, str]:
        """The grid as flags, name -> text; several axes with spaces between them."""
        axes = [
            f"{name}={','.join(value.replace(',', 'x') for value in values)}"
            for name, values in self.axes().items()
        ]
        return {"num_seeds": str(self.num_seeds), "sweep": " ".join(axes)}


class Point(NamedTuple):
    """One run of a grid."""

    values: dict[str, str]  # swept field -> text, the seed last
    config: Config  # the settled configuration

    @property
    def name(self) -> str:
        """The name of the folder, such as beta=2,seed=0."""
        return ",".join(f"{name}={value}" for name, value in self.values.items())

    @property
    def setting(self) -> dict[str, str]:
        """The swept fields without the seed."""
        return {name: text for name, text in self.values.items() if name != "seed"}

    @property
    def program(self) -> tuple[tuple[str, str], ...]:
        """The fields that runs of one program share: all but the seed and swept numbers."""
        return tuple(
            (name, text)
            for name, text in written(self.config).items()
            if name != "seed" and Config.OPTIONS[name].swept != "number"
        )


def with_objective_of(config: Config, grid: Grid) -> Config:
    """The configuration with the objective to which a swept option belongs.

    That is the only objective with the option, or the objective of the same name. A sweep of
    objectives, and an objective other than the default, do not change.
    """
    axes = grid.axes()
    if "objective" in axes or config.objective != Config.OPTIONS["objective"].default:
        return config
    for option in axes:
        users = by_name.users_of(option)
        if users and config.objective not in users and (option in users or len(users) == 1):
            given = {
                n: getattr(config, n) for n in Config.OPTIONS if getattr(config, n) is not None
            }
            return Config(
                **{**given, "objective": option if option in users else next(iter(users))}
            )
    return config


def points(config: Config, grid: Grid) -> list[Point]:
    """The runs of a grid, in the order of its axes, seeds innermost.

    Raises:
      BadInputError: a value cannot be read or contradicts other fields, or two runs are the same.
    """
    axes = grid.axes()
    if "seed" in axes and grid.num_seeds > 1:
        raise BadInputError(f"num_seeds={grid.num_seeds} and sweep=seed both choose seeds.")
    if grid.num_seeds < 1:
        raise BadInputError(f"num_seeds={grid.num_seeds} must be at least 1.")
    seeds = [str(config.seed + index) for index in range(grid.num_seeds)]
    axes["seed"] = axes.pop("seed", seeds)
    given = {
        name: value
        for name in Config.OPTIONS
        if (value := getattr(config, name)) is not None and name not in axes
    }
    found: list[Any] = []
    names: dict[Any, str] = {}
    for combination in itertools.product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        parsed = {name: Config.OPTIONS[name].parse(text) for name, text in values.items()}
        shown = {name: text.replace(",", "x") for name, text in values.items()}
        point = Point(shown, Config(**given, **parsed).settled())
        other = names.setdefault(tuple(written(point.config).items()), point.name)
        if other != point.name:
            raise BadInputError(f"sweep: '{other}' and '{point.name}' are the same run.")
        found.append(point)
    return found


def programs(points: list[Point]) -> list[list[Point]]:
    """The runs of the grid in groups that one program can train, in the order of the grid."""
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault(point.program, []).append(point)
    return list(groups.values())


def most_side_by_side(grid: Grid) -> int:
    """The largest number of runs that one program trains."""
    sizes = [
        len(values)
        for name, values in grid.axes().items()
        if name == "seed" or Config.OPTIONS[name].swept == "number"
    ]
    return math.prod(sizes) * max(1, grid.num_seeds)


def _text_of(name: str, value: Any) -> str:
    if isinstance(value, str):
        text = value.strip()
        return text.replace("x", ",") if name == "hidden" else text
    return Config.OPTIONS[name].write(value)
