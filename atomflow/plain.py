"""Plain JSON and plain tables: how any room turns what it holds into text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_jsonable(value: Any) -> Any:
    """Plain JSON types from numpy, paths and objects with ``to_json``; NaN and infinity become null."""
    if hasattr(value, "to_json"):
        return to_jsonable(value.to_json())
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_jsonable(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return to_jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


class Shown:
    """What ``print`` and a notebook show of a result: its :meth:`text`; in a list it is the first line of that."""

    def text(self) -> str:
        """For people."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.text().splitlines()[0]}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text())


def named(potential: Mapping[str, Any] | None) -> str:
    """A potential's identity in a few words: its name, the beginning of its checksum and its precision."""
    if not potential:
        return "an unknown potential"
    more = ", ".join(str(part) for part in (str(potential.get("sha256") or "")[:12], potential.get("dtype")) if part)
    return f"{potential.get('name')} ({more})" if more else str(potential.get("name"))


def with_error(mean: float, error: float | None, spec: str = ".6g") -> str:
    """``mean ± error``, both to the second digit of the error; without one the mean alone, as ``spec`` says."""
    if not error:
        return f"{mean:{spec}}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{mean:.{decimals}f} ± {error:.{decimals}f}"


def table(rows: list[list[str]], header: list[str], width: int | None = None) -> str:
    """Left-aligned columns, as wide as their contents; the last one is broken into lines to keep to ``width``."""
    cells = [header, *rows]
    if width is not None:
        left = sum(max(len(row[i]) for row in cells) + 2 for i in range(len(header) - 1))
        cells = [line for row in cells for line in _broken(row, max(30, width - left))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _broken(row: list[str], room: int) -> list[list[str]]:
    """The row, and further rows that hold nothing but what is left of its last column."""
    parts = textwrap.wrap(row[-1], room) or [""]
    return [[*row[:-1], parts[0]], *([*[""] * (len(row) - 1), part] for part in parts[1:])]
