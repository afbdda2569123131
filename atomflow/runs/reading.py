"""The frames of a trajectory file, read by what the file shows itself to be."""

from __future__ import annotations

import warnings
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from atomflow.errors import InputError
from atomflow.runs.formats import CutShort, first_bytes, is_compressed, no_types, open_text
from atomflow.runs.formats_h5md import h5md_file, is_netcdf4
from atomflow.runs.formats_lammps import lammps_dump
from atomflow.runs.formats_netcdf import amber_netcdf
from atomflow.runs.formats_vasp import FRAME, xdatcar
from atomflow.runs.frames import Frame, from_atoms

_BY_NAME = {"lammps-dump-text": "lammps", "vasp-xdatcar": "xdatcar", "netcdf": "netcdf", "netcdftrajectory": "netcdf",
            "h5md": "h5md"}
#: ASE reads any name with XDATCAR or POSCAR in it as that, whatever its ending
_BY_SUFFIX = {".extxyz": "extxyz", ".xyz": "extxyz", ".traj": "traj"}
#: the readers that know what ``elements`` is
_TYPED: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Frame]]] = {
    "lammps": lammps_dump, "netcdf": amber_netcdf, "h5md": h5md_file}


def iterate(path: Path, format: str | None, elements: Sequence[str] | None) -> Iterator[Frame]:
    """The frames of ``path``; errors come out of the iteration as they happen.

    Raises:
        InputError: the file is missing or empty, or what only the reader of its format can say.
    """
    kind = own_kind(path, format)
    if kind in _TYPED:
        yield from _TYPED[kind](path, elements)
        return
    if elements is not None:
        raise no_types(path, "names its elements itself")
    yield from xdatcar(path) if kind == "xdatcar" else _by_ase(path, format)


def own_kind(path: Path, format: str | None = None) -> str | None:
    """Which reader of our own is for this file: lammps, xdatcar, netcdf or h5md; None: ASE's.

    Told by the content, also of a compressed file; a name alone makes an XDATCAR only where it is nothing else.

    Raises:
        InputError: the file is missing or empty, or it is compressed and must not be.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a run folder or a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    start = first_bytes(path, 4096).removeprefix(BOM_UTF8).lstrip()
    if format is not None:
        kind = _BY_NAME.get(format)
    elif start.startswith(b"ITEM:"):
        kind = "lammps"
    elif FRAME.encode() in start or (path.name.startswith("XDATCAR") and not path.suffix):
        kind = "xdatcar"
    elif start.startswith(b"CDF"):
        kind = "netcdf"
    elif start.startswith(b"\x89HDF"):
        kind = "netcdf" if not is_compressed(path) and is_netcdf4(path) else "h5md"
    else:
        kind = None
    if kind in ("netcdf", "h5md") and is_compressed(path):
        raise InputError(f"{path} is compressed, and its format is read from the disk as it lies; decompress it first")
    return kind


def _by_ase(path: Path, format: str | None) -> Iterator[Frame]:
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    good = 0
    plain = path.with_suffix("") if is_compressed(path) else path
    format = format or _BY_SUFFIX.get(plain.suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            images = ase.io.iread(str(path), index=":", format=format)
            for atoms in images:
                yield from_atoms(atoms)
                good += 1
        except UnknownFileTypeError:
            raise InputError(f"cannot tell the format of {path}; name it with --format (ASE's names, "
                             f"e.g. extxyz, traj, vasp-xdatcar, lammps-dump-text)") from None
        except ImportError as error:
            raise InputError(f"reading {path} needs a package that is not installed: {error}") from None
        except Exception:
            if format == "extxyz":
                _look_for_end(path, good)
            raise


def _look_for_end(path: Path, frame: int) -> None:
    """Raise :class:`CutShort` where an xyz file ends inside this frame: a count, a comment, a line an atom."""
    with open_text(path) as handle:
        for _ in range(frame + 1):
            count = handle.readline()
            lines = [handle.readline() for _ in range(int(count) + 1 if count.strip().isdigit() else 0)]
        if not handle.readline() and not (lines and lines[-1].endswith("\n")):
            raise CutShort("the file ends inside a frame")
