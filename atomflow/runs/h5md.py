"""trajectory.h5: one H5MD 1.1 file (https://www.nongnu.org/h5md/h5md.html) that other programs open.

    /h5md                                    version, author, creator
    /particles/all/position/{step,time,value}    (F, N, 3) unwrapped, Å; time in fs
    /particles/all/box/edges/{step,time,value}   (F, 3, 3) lattice rows, Å
    /particles/all/velocity                  the same, Å/fs, if the run kept velocities
    /particles/all/species                   (N,) atomic numbers
    /observables/<name>/{step,time,value}    thermo; equilibration has negative times
    /atomflow                                the initial cell with regions, sites and provenance

Datasets lie in chunks of about 1 MiB that are short in both directions, so that "few atoms, all frames" and "all atoms,
few frames" both read little.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.runs.files import (
    CELL,
    PARTIAL,
    TRAJECTORY,
    hdf5_bytes,
    open_hdf5,
    reserve,
    sync_file,
    sync_folder,
    write_whole,
)
from atomflow.runs.segments import Header
from atomflow.version import __version__

_CHUNK_BYTES = 1 << 20
_CHUNK_ATOMS = 128
_BUFFER_BYTES = 64 << 20
#: A trajectory no larger is put together in memory. HDF5 does not survive a write that fails (it ends the process).
_IN_MEMORY_BYTES = 64 << 20

#: unit of an observable, from the end of its name
_UNITS = (("_eV", "eV"), ("_meV", "meV"), ("_K", "K"), ("_A3", "Angstrom+3"), ("_GPa", "GPa"))


def write_cell(handle: h5py.File, cell: Cell) -> None:
    """Put ``cell`` into group /atomflow, exactly (no rounding as in text files)."""
    group = handle.create_group("atomflow")
    group["numbers"] = cell.numbers
    group["initial_positions_A"] = cell.positions_A
    group["initial_lattice_A"] = cell.lattice_A
    group["regions"] = [str(region) for region in cell.regions]
    group["sites"] = [str(site) for site in cell.sites]
    group["provenance"] = json.dumps(cell.provenance)


def read_cell(handle: h5py.File) -> Cell:
    """The cell that :func:`write_cell` put there."""
    group = handle["atomflow"]
    return Cell(group["numbers"][()], group["initial_positions_A"][()], group["initial_lattice_A"][()],
                regions=group["regions"].asstr()[()], sites=group["sites"].asstr()[()],
                provenance=json.loads(group["provenance"].asstr()[()]))


def merge(folder: Path, headers: list[Header]) -> None:
    """Write all segments of a run as ``trajectory.h5``, chunk by chunk; in place whole or not at all.

    Raises:
        OSError: the disk is full; the segments are untouched.
    """
    path = folder / TRAJECTORY
    size = _at_most_bytes(folder, headers)
    if size <= _IN_MEMORY_BYTES:
        return write_whole(path, hdf5_bytes(lambda handle: _fill(handle, folder, headers)))
    partial = path.with_name(path.name + PARTIAL)
    try:
        reserve(partial, size)
        with h5py.File(partial, "w", libver="v110", locking=False) as handle:
            _fill(handle, folder, headers)
        sync_file(partial)
        os.replace(partial, path)
    except RuntimeError:  # HDF5's word for a write that failed while closing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(folder)


def _fill(handle: h5py.File, folder: Path, headers: list[Header]) -> None:
    _write_head(handle)
    with open_hdf5(folder / CELL) as source:
        source.copy("atomflow", handle)
    _write_particles(handle, headers)
    _write_observables(handle, headers)


def _at_most_bytes(folder: Path, headers: list[Header]) -> int:
    """No less than the file of :func:`merge`: what the segments hold, chunks that are not full, and the cell."""
    held = sum(header.path.stat().st_size for header in headers)
    with open_hdf5(folder / CELL) as handle:
        n_atoms = len(handle["atomflow/numbers"])
    columns = -(-n_atoms // _CHUNK_ATOMS)
    padded = columns * min(n_atoms, _CHUNK_ATOMS) / n_atoms
    return int(held * padded) + (2 * columns + 1) * _CHUNK_BYTES + (folder / CELL).stat().st_size


def _write_head(handle: h5py.File) -> None:
    head = handle.create_group("h5md")
    head.attrs["version"] = np.array([1, 1])
    head.create_group("author").attrs["name"] = "atomflow"
    head.create_group("creator").attrs.update(name="atomflow", version=__version__)


def _write_particles(handle: h5py.File, headers: list[Header]) -> None:
    headers = [header for header in headers if header.n_frames]
    particles = handle.create_group("particles/all")
    numbers = handle["atomflow/numbers"][()]
    particles["species"] = numbers
    box = particles.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = ["periodic"] * 3
    n_frames = sum(header.n_frames for header in headers)
    if n_frames == 0:
        return
    step, time = _column(headers, "frames/step"), _column(headers, "frames/time_fs")
    edges = _series(box, "edges", step, time)
    edges["value"] = _column(headers, "frames/lattice_A")
    edges["value"].attrs["unit"] = "Angstrom"
    position = particles.create_group("position")
    position["step"], position["time"] = edges["step"], edges["time"]  # hard links, as H5MD asks for the box
    _stream(position, "frames/positions_A", "Angstrom", headers, len(numbers))
    with open_hdf5(headers[0].path) as first:
        moving = "velocities_A_per_fs" in first["frames"]
    if moving:
        velocity = particles.create_group("velocity")
        velocity["step"], velocity["time"] = edges["step"], edges["time"]
        _stream(velocity, "frames/velocities_A_per_fs", "Angstrom fs-1", headers, len(numbers))


def _write_observables(handle: h5py.File, headers: list[Header]) -> None:
    headers = [header for header in headers if header.n_thermo]
    group = handle.create_group("observables")
    table = thermo_table(headers)
    first: h5py.Group | None = None
    for name in table:
        if name in ("step", "time_fs"):
            continue
        if first is None:
            series = first = _series(group, name, table["step"], table["time_fs"])
        else:
            series = group.create_group(name)
            series["step"], series["time"] = first["step"], first["time"]  # hard links
        series["value"] = table[name]
        unit = next((unit for ending, unit in _UNITS if name.endswith(ending)), None)
        if unit:
            series["value"].attrs["unit"] = unit


def thermo_table(headers: list[Header]) -> dict[str, np.ndarray]:
    """All thermo rows of the segments by column; NaN where a row lacks a quantity."""
    parts: list[dict[str, np.ndarray]] = []
    for header in headers:
        if header.n_thermo:
            with open_hdf5(header.path) as handle:
                parts.append({name: item[()] for name, item in handle["thermo"].items()})
    names = {name: None for part in parts for name in part}
    return {name: np.concatenate([part.get(name, np.full(len(part["step"]), np.nan)) for part in parts])
            for name in names}


def _series(parent: h5py.Group, name: str, step: np.ndarray, time_fs: np.ndarray) -> h5py.Group:
    group = parent.create_group(name)
    group["step"] = step
    group["time"] = time_fs
    group["time"].attrs["unit"] = "fs"
    return group


def _column(headers: list[Header], name: str) -> np.ndarray:
    parts = []
    for header in headers:
        with open_hdf5(header.path) as handle:
            parts.append(handle[name][()])
    return np.concatenate(parts)


def _stream(group: h5py.Group, name: str, unit: str, headers: list[Header], n_atoms: int) -> None:
    """Copy the (f, N, 3) dataset ``name`` of all segments into ``group/value`` with bounded memory."""
    dtypes = set()
    for header in headers:
        with open_hdf5(header.path) as handle:
            dtypes.add(handle[name].dtype)
    dtype = max(dtypes, key=lambda kind: kind.itemsize)
    n_frames = sum(header.n_frames for header in headers)
    frames, atoms = _chunk(n_frames, n_atoms, dtype.itemsize)
    value = group.create_dataset("value", (n_frames, n_atoms, 3), dtype=dtype, chunks=(frames, atoms, 3),
                                 fletcher32=True)
    value.attrs["unit"] = unit
    start = 0
    for block in _blocks(headers, name, frames):
        value[start : start + len(block)] = block
        start += len(block)


def _chunk(n_frames: int, n_atoms: int, itemsize: int) -> tuple[int, int]:
    atoms = min(n_atoms, _CHUNK_ATOMS)
    frames = min(_CHUNK_BYTES // (atoms * 3 * itemsize), _BUFFER_BYTES // (n_atoms * 3 * itemsize), n_frames)
    return max(frames, 1), atoms


def _blocks(headers: list[Header], name: str, size: int) -> Iterator[np.ndarray]:
    """The frames of all segments in blocks of ``size``, whatever the segments' own lengths."""
    waiting: list[np.ndarray] = []
    count = 0
    for header in headers:
        with open_hdf5(header.path) as handle:
            try:
                data = handle[name][()]
            except OSError as error:
                raise InputError(f"{header.path} is damaged: {str(error).splitlines()[0]}") from None
        while len(data):
            part, data = data[: size - count], data[size - count :]
            waiting.append(part)
            count += len(part)
            if count == size:
                yield np.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)
