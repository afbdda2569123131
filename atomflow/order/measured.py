"""A measured powder pattern: two columns, 2θ and counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from atomflow.errors import InputError


def read_pattern(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """(2θ in degrees, intensity) of a text file of two columns (blank, comma or semicolon between; # comments).

    Lines at the top that are not numbers are taken for a header.

    Raises:
        InputError: no such file, fewer than ten points, or angles that do not increase.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not fields:
            continue
        try:
            rows.append((float(fields[0]), float(fields[1])))
        except (ValueError, IndexError):
            if rows:
                raise InputError(f"{path}, line {number}: two numbers were expected, 2θ and intensity") from None
    table = np.array(rows)
    if len(table) < 10:
        raise InputError(f"{path} holds {len(table)} points of two columns; a pattern has at least 10")
    if not np.isfinite(table).all() or (np.diff(table[:, 0]) <= 0).any():
        raise InputError(f"{path}: the angles must be finite and increase from line to line")
    return table[:, 0], table[:, 1]
