"""The frames of a trajectory file, read by what the file shows itself to be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from atomflow.errors import InputError
from atomflow.runs import formats
from atomflow.runs.frames import Frame, from_atoms


def iterate(path: Path, format: str | None, elements: Sequence[str] | None) -> Iterator[Frame]:
    """The frames of ``path``; errors come out of the iteration as they happen.

    Raises:
        InputError: the file is missing or empty, or what only the reader of its format can say.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a run folder or a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    with open(path, "rb") as handle:
        start = handle.read(16)
    if format == "lammps-dump-text" or (format is None and start.startswith(b"ITEM:")):
        yield from formats.lammps_dump(path, elements)
    elif format == "vasp-xdatcar" or (format is None and "XDATCAR" in path.name):
        yield from formats.xdatcar(path)
    elif format in ("netcdf", "netcdftrajectory") or (format is None and start.startswith(b"CDF")):
        yield from formats.amber_netcdf(path, elements)
    elif format == "h5md" or (format is None and start.startswith(b"\x89HDF")):
        yield from formats.h5md_file(path, elements)
    else:
        yield from _by_ase(path, format)


def _by_ase(path: Path, format: str | None) -> Iterator[Frame]:
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            images = ase.io.iread(str(path), index=":", format=format)
            for atoms in images:
                yield from_atoms(atoms)
        except UnknownFileTypeError:
            raise InputError(f"cannot tell the format of {path}; name it with --format (ASE's names, "
                             f"e.g. extxyz, traj, vasp-xdatcar, lammps-dump-text)") from None
        except ImportError as error:
            raise InputError(f"reading {path} needs a package that is not installed: {error}") from None
