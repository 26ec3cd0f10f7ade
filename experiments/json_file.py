"""Results as JSON files."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.run_folder import writing


def write(path: Path, value: Any, digits: int | None = None) -> None:
    """Writes dicts, lists, arrays and numbers; null for what is not finite.

    Args:
      path: of the file.
      value: what it holds.
      digits: of each number; None for all.

    Raises:
      BadInputError: it cannot be written.
    """
    with writing(path):
        path.write_text(json.dumps(_plain(value, digits), indent=1, allow_nan=False) + "\n")


def _plain(value: Any, digits: int | None) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part, digits) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, digits) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    return value
