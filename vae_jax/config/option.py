"""The description of a field of a configuration: type, range, help text and written form.

Flags, axes of sweeps, flags.cfg and the metadata of checkpoints are all made from it.
"""

import dataclasses
import difflib
import math
import numbers
import operator
import typing
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, TypeVar

from vae_jax.errors import BadInputError

_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Option:
    """A field of a configuration."""

    name: str
    kind: type  # int, float, str, bool, or tuple for several positive whole numbers
    optional: bool  # whether None is allowed, whose meaning is in the help text
    default: Any
    help: str
    group: str  # heading in --help
    choices: tuple[str, ...] = ()
    low: float | None = None  # smallest value
    above: float | None = None  # limit that the value must be above
    below: float | None = None  # limit that the value must be below
    high: float | None = None  # largest value
    swept: Literal["number", "shape"] | None = None  # "number" for an array in the training state
    changes_numbers: bool = True  # if not, it may change when a run goes on
    first: bool = False  # whether it is one of the few options that --help shows first

    def parse(self, text: str) -> Any:
        """The value of a text on a command line or in flags.cfg.

        Raises:
          BadInputError: the text is not a value of this option.
        """
        try:
            if self.kind is bool:
                return {"true": True, "false": False}[text.lower()]
            if self.kind is tuple:
                return tuple(int(part) for part in text.replace("x", ",").split(",") if part)
            return self.kind(text)
        except (KeyError, ValueError) as error:
            raise BadInputError(f"{self.name}={text} must be {self._wanted()}.") from error

    def write(self, value: Any) -> str:
        """The text that `parse` turns into this value."""
        if self.kind is bool:
            return str(value).lower()
        return ",".join(map(str, value)) if self.kind is tuple else str(value)

    def check(self, value: Any) -> Any:
        """Converts a value to the type of the option, and checks its range.

        Raises:
          BadInputError: the value is of another type or out of its range.
        """
        if value is None and self.optional:
            return None
        converted = self._converted(value)
        if self.choices and converted not in self.choices:
            raise BadInputError(
                f"{self.name}={converted} is unknown; it is one of {', '.join(self.choices)}."
            )
        numeric = self.kind in (int, float)
        if numeric and not all(holds(converted) for _, holds in self._limits()):
            limits = " and ".join(words for words, _ in self._limits())
            raise BadInputError(f"{self.name}={self.write(converted)} must be {limits}.")
        return converted

    def _converted(self, value: Any) -> Any:
        try:
            if self.kind is int and not isinstance(value, bool):
                return operator.index(value)
            if self.kind is float and isinstance(value, numbers.Real):
                return float(value)
            if self.kind is tuple and not isinstance(value, str):
                widths = tuple(operator.index(width) for width in value)
                if all(width > 0 for width in widths):
                    return widths
            if self.kind in (str, bool) and isinstance(value, self.kind):
                return value
        except TypeError:
            pass
        raise BadInputError(f"{self.name}={value!r} must be {self._wanted()}.")

    def _wanted(self) -> str:
        if self.kind is tuple:
            numbers = "positive whole numbers with commas between them, such as 300,300"
            return numbers + (" or None" if self.optional else "")
        return _KINDS[self.kind] + (" or None" if self.optional else "")

    def _limits(self) -> list[tuple[str, Any]]:
        rules = [
            (self.low, "at least", operator.ge),
            (self.above, "above", operator.gt),
            (self.below, "below", operator.lt),
            (self.high, "at most", operator.le),
        ]
        found: list[tuple[str, Any]] = [
            (f"{words} {limit}", lambda value, limit=limit, holds=holds: holds(value, limit))
            for limit, words, holds in rules
            if limit is not None
        ]
        if self.kind is float and found:
            found.append(("finite", math.isfinite))
        return found


def option(default: Any, help: str, *, group: str, **known: Any) -> Any:
    """Declares a field of a configuration. Its type comes from the annotation."""
    return dataclasses.field(default=default, metadata={"help": help, "group": group, **known})


class Configuration:
    """The base class of all configurations."""

    OPTIONS: ClassVar[dict[str, Option]]  # name -> description of the field


C = TypeVar("C", bound=type[Configuration])


def configuration(cls: C) -> C:
    """Gives a dataclass of `option` fields its `OPTIONS`, and checks the names of its arguments.

    An unknown name raises a BadInputError that suggests similar names.
    """
    made: dict[str, Option] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # it is a dataclass
        kinds: Any = typing.get_args(field.type)
        optional = type(None) in kinds
        inner: Any = kinds[0] if optional else field.type
        kind: Any = typing.get_origin(inner) or inner
        made[field.name] = Option(
            name=field.name, kind=kind, optional=optional, default=field.default, **field.metadata
        )
    cls.OPTIONS = made
    init = cls.__init__

    def checked_init(self, **given):
        for name in given:
            require_known(name, made, what=f"{cls.__name__} has no field")
        init(self, **given)

    checked_init.__doc__ = init.__doc__
    cls.__init__ = checked_init  # type: ignore[method-assign]  # that is what a decorator is for
    return cls


def check_all(config: Any) -> None:
    """Checks each field of a configuration separately, and converts it to its type."""
    for name, known in config.OPTIONS.items():
        object.__setattr__(config, name, known.check(getattr(config, name)))


def require_known(name: str, known: Iterable[str], what: str) -> None:
    """Raises a BadInputError for an unknown name, which suggests similar names or lists all."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        allowed = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}."
        raise BadInputError(f"{what} {name!r}: {allowed}")


def written(config: Any) -> dict[str, str]:
    """The fields of a configuration that are not None, name -> text as on a command line."""
    return {
        name: known.write(getattr(config, name))
        for name, known in config.OPTIONS.items()
        if getattr(config, name) is not None
    }


def read(cls: type[Configuration], texts: dict[str, str]) -> Any:
    """Reads a configuration that `written` wrote. A field that is missing has its default.

    Raises:
      BadInputError: a name is unknown, or a text is not a value of its option.
    """
    for name in texts:
        require_known(name, cls.OPTIONS, what=f"{cls.__name__} has no field")
    return cls(**{name: cls.OPTIONS[name].parse(text) for name, text in texts.items()})
