"""What our readers of trajectory files share: text that may be compressed, lines that may end, units, elements.

There are readers of our own (``formats_lammps``, ``formats_vasp``, ``formats_netcdf``, ``formats_h5md``) where ASE's
hold the whole file in memory, drop what unwrapping needs, ignore units, or hide where a file is cut.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from atomflow.errors import InputError

#: fs and Å in the units that files name, in small letters and the singular
TIME_FS = {"fs": 1.0, "femtosecond": 1.0, "ps": 1e3, "picosecond": 1e3, "ns": 1e6, "nanosecond": 1e6, "µs": 1e9,
           "microsecond": 1e9, "s": 1e15, "second": 1e15}
LENGTH_A = {"a": 1.0, "å": 1.0, "angstrom": 1.0, "ångström": 1.0, "nm": 10.0, "nanometer": 10.0, "pm": 0.01,
            "picometer": 0.01, "bohr": 0.529177210903, "m": 1e10, "meter": 1e10, "cm": 1e8, "centimeter": 1e8}

_COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class CutShort(Exception):
    """The file ends inside a frame."""


def open_text(path: Path) -> IO[str]:
    """A text file, compressed (gzip, bzip2, xz) or not, to be read."""
    return cast("IO[str]", _opener(path)(path, "rt", encoding="utf-8-sig", errors="replace"))


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, after decompression; fewer where it is shorter, or cut."""
    with _opener(path)(path, "rb") as handle:
        try:
            return bytes(handle.read(count))
        except (OSError, EOFError, lzma.LZMAError):
            return b""


def is_compressed(path: Path) -> bool:
    """Whether the file is gzip, bzip2 or xz, whatever its name."""
    return _opener(path) is not open


def _opener(path: Path) -> Callable[..., Any]:
    with open(path, "rb") as handle:
        start = handle.read(6)
    return next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), open)


def read_line(handle: IO[str]) -> str:
    """The next line; :class:`CutShort` at the end of the file or in the middle of a line."""
    line = handle.readline()
    if not line.endswith("\n"):
        raise CutShort("the file ends inside a frame")
    return line


def expect(handle: IO[str], start: str) -> str:
    """The next line, which must begin so."""
    line = read_line(handle)
    if not line.startswith(start):
        raise ValueError(f"expected '{start}', found '{line.strip()[:40]}'")
    return line


def in_unit(unit: str, known: Mapping[str, float], path: Path, what: str) -> float:
    """The size of ``unit`` by the table ``known``.

    Raises:
        InputError: it is none of these, like the reduced units of LAMMPS.
    """
    name = unit.strip().lower()
    size = known.get(name, known.get(name.removesuffix("s")))
    if size is None:
        raise InputError(f"{path} gives {what} in '{unit}', of which the size is not known here; write it in one of "
                         f"{', '.join(known)}")
    return size


def by_type(types: np.ndarray, elements: Sequence[str] | None, path: Path) -> np.ndarray:
    """Atomic numbers of atom types 1, 2, ... by the given list of symbols."""
    if elements is None:
        raise InputError(f"{path} names atom types, not elements; say which they are with --elements, "
                         f"e.g. --elements Na,Zr,Si,P,O for types 1 to 5")
    if types.max() > len(elements) or types.min() < 1:
        raise InputError(f"{path} has atom types {types.min()} to {types.max()}, but --elements names {len(elements)}")
    return numbers_of(list(elements), path)[types - 1]


def no_types(path: Path, why: str) -> InputError:
    """The line for ``elements`` of a file that says itself which element each atom is."""
    return InputError(f"{path} {why}; leave --elements away, it names the atom types of LAMMPS")


def numbers_of(symbols: Sequence[str], path: Path) -> np.ndarray:
    """Atomic numbers of chemical symbols."""
    from ase.data import atomic_numbers

    unknown = next((symbol for symbol in symbols if symbol not in atomic_numbers), None)
    if unknown is not None:
        raise InputError(f"{path}: '{unknown}' is not an element")
    return np.array([atomic_numbers[symbol] for symbol in symbols])


def sorted_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts atoms by id, and the sorted ids.

    Raises:
        InputError: two atoms of the frame have one id.
    """
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    if len(twice):
        raise InputError(f"atom id {twice[0]} is there twice; each atom needs an id of its own to be followed")
    return order, ranked
