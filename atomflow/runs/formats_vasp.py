"""VASP's XDATCAR, frame by frame, with what an INCAR beside it says of time and temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from atomflow.errors import InputError
from atomflow.runs.formats import numbers_of, open_text, read_line
from atomflow.runs.frames import Frame

#: what stands before the coordinates of every frame, and before its number
FRAME = "Direct configuration="


def xdatcar(path: Path) -> Iterator[Frame]:
    """Frames of an XDATCAR with one header or one a frame; an INCAR beside it gives time and temperature.

    The numbers of the configurations are the steps: a frame that is missing shows, and so does every 5th frame. Where
    they begin again, another run was joined to the first and goes on at the same interval.
    """
    numbered = _first_numbers(path)
    apart = numbered[1] - numbered[0] if len(numbered) == 2 else 1
    unit_fs, temperature = _incar(_incar_beside(path), numbered)
    with open_text(path) as handle:
        lattice = numbers = None
        step: int | None = None
        offset, blank = 0, False
        for line in handle:
            if not line.strip():
                blank = True
                continue
            if FRAME not in line:
                lattice, numbers = _header(line if blank and _is_number(line) else read_line(handle), handle, path)
                line = read_line(handle)
            if FRAME not in line or lattice is None or numbers is None:
                raise ValueError(f"expected '{FRAME}', found '{line.strip()[:40]}'")
            rows = [read_line(handle).split() for _ in range(len(numbers))]
            if any(len(row) < 3 for row in rows):
                raise ValueError("a line of an atom with fewer than three coordinates")
            blank, number = False, _number(line)
            if number is not None and step is not None and number + offset <= step and number == numbered[0]:
                offset = step + apart - number
            step = None if number is None else number + offset
            yield Frame(numbers, np.array([row[:3] for row in rows], dtype=np.float64), lattice, step=step,
                        time_fs=None if unit_fs is None or step is None else step * unit_fs, temperature_K=temperature)


def _header(scale: str, handle: IO[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lattice and atomic numbers, from the line of the scale on."""
    lattice = np.array([[float(x) for x in read_line(handle).split()] for _ in range(3)]) * float(scale)
    symbols = read_line(handle).split()
    if symbols[0].isdigit():
        raise InputError(f"{path} is of an old VASP and names no elements; add the line of symbols")
    counts = [int(n) for n in read_line(handle).split()]
    names = [symbol.split("_")[0] for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    return lattice, numbers_of(names, path)


def _number(line: str) -> int | None:
    """The number of a configuration; None where VASP had no room for it (``******``) or none was written."""
    text = line.partition("=")[2].strip()
    return int(text) if text.isdigit() else None


def _is_number(line: str) -> bool:
    try:
        return len(line.split()) == 1 and float(line) > 0
    except ValueError:
        return False


def _first_numbers(path: Path) -> list[int]:
    """The numbers of the first two configurations; fewer where there are fewer."""
    found: list[int] = []
    with open_text(path) as handle:
        try:
            for line in handle:
                if FRAME in line and (number := _number(line)) is not None:
                    found.append(number)
                if len(found) == 2:
                    break
        except EOFError:  # a compressed file that is cut: reading its frames will say so
            return found
    return found


# --- INCAR ------------------------------------------------------------------------------------------------------


def _incar_beside(path: Path) -> Path:
    """``INCAR`` beside ``XDATCAR``, ``run.INCAR`` beside ``run.XDATCAR``."""
    name = path.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz")
    return path.with_name(name.replace("XDATCAR", "INCAR") if "XDATCAR" in name else "INCAR")


def _incar(path: Path, numbered: list[int]) -> tuple[float | None, float | None]:
    """Time between configurations numbered n and n + 1 in fs, and temperature in K, where an INCAR lies there.

    VASP numbers configurations by their MD step (50, 100, ... with NBLOCK = 50), tools that rewrite the file by their
    place in it (1, 2, ...).
    """
    tags = _tags(path) if path.is_file() else {}
    if _float(tags, "IBRION") != 0:
        return None, None
    start = _float(tags, "TEBEG")
    end = _float(tags, "TEEND", start)
    temperature = start if start == end else None
    block = int(_float(tags, "NBLOCK", 1.0) or 1)
    produces = tags.get("ML_MODE", "").upper() in ("RUN", "PREDICT") or tags.get("ML_ISTART") == "2"
    if produces and tags.get("ML_LMLFF", "").upper().lstrip(".").startswith("T"):
        block = max(block, int(_float(tags, "ML_OUTBLOCK", 1.0) or 1))
    step_fs = _float(tags, "POTIM")
    if step_fs is None:
        return None, temperature
    by_step = len(numbered) == 2 and all(number % block == 0 for number in numbered)
    return (step_fs if by_step else step_fs * block), temperature


def _tags(path: Path) -> dict[str, str]:
    """The first word of every tag of an INCAR."""
    tags: dict[str, str] = {}
    for line in path.read_text(errors="replace").replace(";", "\n").splitlines():
        key, _, rest = line.split("#")[0].split("!")[0].partition("=")
        if rest.split():
            tags[key.strip().upper()] = rest.split()[0]
    return tags


def _float(tags: dict[str, str], key: str, default: float | None = None) -> float | None:
    try:
        return float(tags[key])
    except (KeyError, ValueError):
        return default
