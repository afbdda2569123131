"""A run in other programs' formats: extxyz (ASE, OVITO), AMBER NetCDF (VMD, MDAnalysis), LAMMPS data (last frame)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from atomflow.cell import escaped
from atomflow.errors import InputError, RunFailed, check_place
from atomflow.runs.files import NO_ROOM, PARTIAL
from atomflow.runs.frames import MEASURED_K, MEASURED_ROWS, RUN_FACTS, facts_text
from atomflow.runs.lammps import data_text
from atomflow.runs.reader import Run
from atomflow.version import __version__

SUFFIXES = {"extxyz": ".extxyz", "netcdf": ".nc", "lammps": ".data"}
_BLOCK_BYTES = 16 << 20
#: times nearer than this are one time
_SAME_FS = 1e-6


def export(run: Run, format: str, path: str | Path | None = None, stride: int = 1, wrap: bool = False) -> Path:
    """Write ``run`` as ``format``; memory stays bounded, and the file is there whole or not at all.

    Positions are those that were simulated: unwrapped, each frame in its own box.

    Args:
        format: ``extxyz`` (every frame; regions, sites, time, temperatures, potential: analyzed as the run is),
            ``netcdf`` (AMBER, every frame; float32) or ``lammps`` (data file of the last frame, box turned to LAMMPS's
            orientation).
        path: where to; by default named after the run, in the present folder.
        stride: every how many frames one is written.
        wrap: put atoms back into the box.

    Raises:
        InputError: unknown format, a run without frames, or a file that is already there.
    """
    writers: dict[str, Callable[[Run, Path, int, bool], None]] = {
        "extxyz": _extxyz, "netcdf": _netcdf, "lammps": _lammps}
    if format not in writers:
        raise InputError(f"--format must be one of {', '.join(writers)}, not '{format}'")
    if stride < 1:
        raise InputError(f"--stride must be 1 or more, not {stride}")
    if run.n_frames == 0:
        raise InputError(f"{run.folder} holds no frames yet")
    target = Path(run.folder.resolve().name + SUFFIXES[format]) if path is None else Path(path)
    if format == "lammps" and target.suffix in (".lammpstrj", ".dump"):
        raise InputError(f"lammps is a data file of the last frame, and {target.name} is the name of a trajectory: end "
                         "it in .data, or export extxyz or netcdf")
    if target.exists():
        raise InputError(f"{target} is already there; remove it or give another name with -o")
    check_place(target)
    partial = target.with_name(target.name + PARTIAL)
    try:
        writers[format](run, partial, stride, wrap)
        os.replace(partial, target)
    except OSError as error:
        hint = "; free some space" if error.errno in NO_ROOM else ""
        raise RunFailed(f"cannot write {target}: {error.strerror or error}{hint}") from None
    finally:
        partial.unlink(missing_ok=True)
    return target


def _frames(run: Run, stride: int, wrap: bool) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(index, positions, lattice) of every ``stride``-th frame, read in blocks."""
    block = max(1, _BLOCK_BYTES // (run.n_atoms * 24))
    for start in range(0, run.n_frames, block):
        stop = min(start + block, run.n_frames)
        positions, lattices = run.raw_positions_A(start, stop), run.lattices_A(start, stop)
        for index in range(start + (-start) % stride, stop, stride):
            lattice = lattices[index - start]
            yield index, _wrapped(positions[index - start], lattice) if wrap else positions[index - start], lattice


def _wrapped(positions: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    fractional = np.linalg.solve(lattice.T, positions.T).T
    return (fractional - np.floor(fractional)) @ lattice


def _extxyz(run: Run, path: Path, stride: int, wrap: bool) -> None:
    from ase.io.extxyz import write_xyz

    atoms = run.initial_cell().to_ase()
    atoms.info = {RUN_FACTS: facts_text(run.config, run.potential)}
    if run.temperature_K is not None:
        atoms.info["temperature_K"] = run.temperature_K
    measured = _measured(run, stride)
    with open(path, "w", encoding="utf-8") as handle:
        for index, positions, lattice in _frames(run, stride, wrap):
            atoms.positions, atoms.cell = positions, lattice
            atoms.info.update(frame=index, time_fs=float(run.times_fs[index]))
            if measured is not None:
                atoms.info.update(zip((MEASURED_K, MEASURED_ROWS), measured[index // stride], strict=True))
            write_xyz(handle, [escaped(atoms)])


def _measured(run: Run, stride: int) -> list[tuple[float, int]] | None:
    """For each frame to be written, the mean of the temperature rows from it to the next one, and how many these are;
    None where there are none in some frame."""
    thermo, times = run.thermo(), run.times_fs[::stride]
    if "temperature_K" not in thermo:
        return None
    production = thermo["time_fs"] >= -_SAME_FS
    values = thermo["temperature_K"][production]
    frame = np.searchsorted(times, thermo["time_fs"][production] + _SAME_FS, side="right") - 1
    counts, sums = np.bincount(frame, minlength=len(times)), np.bincount(frame, values, minlength=len(times))
    if not counts.all() or not np.isfinite(values).all():
        return None
    return [(float(total / count), int(count)) for total, count in zip(sums, counts, strict=True)]


def _lammps(run: Run, path: Path, stride: int, wrap: bool) -> None:
    title = f"atomflow run {run.folder.name}, frame {run.n_frames - 1}"
    path.write_text(data_text(run.cell(), title, wrap), encoding="utf-8")


def _netcdf(run: Run, path: Path, stride: int, wrap: bool) -> None:
    """AMBER convention 1.0, NetCDF classic with 64-bit offsets. The first frame goes through scipy, which lays out the
    file; a further frame is the same record with other numbers, so it is appended as it is (scipy would hold all)."""
    frames, measured = _frames(run, stride, wrap), _measured(run, stride)

    def record(index: int, positions: np.ndarray, lattice: np.ndarray) -> dict[str, np.ndarray]:
        return _record(run, index, positions, lattice, measured[index // stride] if measured else None)

    count = 1
    _netcdf_head(run, path, record(*next(frames)))
    with open(path, "r+b") as handle:
        handle.seek(0, os.SEEK_END)
        for frame in frames:
            for value in record(*frame).values():
                handle.write(value.tobytes())
            count += 1
        handle.seek(4)  # NetCDF classic: the number of records follows the four magic bytes
        handle.write(count.to_bytes(4, "big"))


def _record(
    run: Run, index: int, positions: np.ndarray, lattice: np.ndarray, measured: tuple[float, int] | None
) -> dict[str, np.ndarray]:
    """One frame's variables in file order, big-endian. AMBER knows lengths and angles only: **a** along x, **b** in
    the xy plane, and the positions turned with the box; ``temp0`` is its name of the thermostat's temperature."""
    from ase.geometry import cell_to_cellpar, cellpar_to_cell

    shape = cell_to_cellpar(lattice)
    turned = np.linalg.solve(lattice, cellpar_to_cell(shape))
    kelvin = {} if run.temperature_K is None else {"temp0": np.array(run.temperature_K, dtype=">f8")}
    if measured is not None:
        kelvin[MEASURED_K] = np.array(measured[0], dtype=">f8")
        kelvin[MEASURED_ROWS] = np.array(measured[1], dtype=">i4")
    return {
        "time": np.array(run.times_fs[index] / 1000.0, dtype=">f8"),
        "coordinates": (positions @ turned).astype(">f4"),
        "cell_lengths": shape[:3].astype(">f8"),
        "cell_angles": shape[3:].astype(">f8"),
        **kelvin,
    }


def _netcdf_head(run: Run, path: Path, first: dict[str, np.ndarray]) -> None:
    from scipy.io import netcdf_file

    with netcdf_file(path, "w", version=2) as handle:
        handle.Conventions, handle.ConventionVersion = b"AMBER", b"1.0"
        handle.program, handle.programVersion = b"atomflow", __version__.encode()
        for name, size in (("frame", None), ("spatial", 3), ("atom", run.n_atoms), ("cell_spatial", 3),
                           ("cell_angular", 3), ("label", 5)):
            handle.createDimension(name, size)
        labels = {"spatial": ["x", "y", "z"], "cell_spatial": ["a", "b", "c"]}
        for name, letters in labels.items():
            handle.createVariable(name, "c", (name,))[:] = np.array(letters, dtype="S1")
        angles = np.array([list(text) for text in ("alpha", "beta ", "gamma")], dtype="S1")
        handle.createVariable("cell_angular", "c", ("cell_angular", "label"))[:] = angles
        handle.createVariable("Z", "i", ("atom",))[:] = run.initial_cell().numbers
        setattr(handle, RUN_FACTS, facts_text(run.config, run.potential).encode())
        shapes = {"time": ((), b"picosecond"), "coordinates": (("atom", "spatial"), b"angstrom"),
                  "cell_lengths": (("cell_spatial",), b"angstrom"), "cell_angles": (("cell_angular",), b"degree"),
                  "temp0": ((), b"kelvin"), MEASURED_K: ((), b"kelvin"), MEASURED_ROWS: ((), b"count")}
        for name, value in first.items():
            dimensions, units = shapes[name]
            variable = handle.createVariable(name, value.dtype, ("frame", *dimensions))
            variable.units = units
            variable[0] = value
