"""Open whatever holds a trajectory: a run folder, an exported LAMMPS folder, a file of another program, ASE atoms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomflow.errors import InputError, check_positive, said
from atomflow.runs import lammps
from atomflow.runs.chain import CHAIN
from atomflow.runs.files import MANIFEST, TRAJECTORY
from atomflow.runs.foreign import ForeignTrajectory
from atomflow.runs.reader import Run, open_run
from atomflow.runs.trajectory import Trajectory


def open_trajectory(
    path: str | os.PathLike[str] | Sequence[Any],
    frame_interval_fs: float | None = None,
    temperature_K: float | None = None,
    format: str | None = None,
    wrapped: bool | str = "auto",
    elements: Sequence[str] | None = None,
) -> Trajectory:
    """Open a run folder, a trajectory file of another program, or a list of ASE atoms.

    Args:
        path: run folder (or its trajectory.h5); folder of ``atomflow export lammps``; extxyz, ASE .traj, XDATCAR,
            LAMMPS dump, AMBER NetCDF, ...; or images.
        frame_interval_fs: time between frames; needed where the file does not say it, and stronger than the file. A run
            folder knows it, and refuses another one.
        temperature_K: as ``frame_interval_fs``; stays None where nobody says it.
        format: ASE's name of the format, where the file name does not show it.
        wrapped: True: atoms are put back into the box at its faces; False: never; "auto": look.
        elements: chemical symbols of LAMMPS atom types 1, 2, ...

    Raises:
        InputError: what is wrong with the file, in one line.
    """
    for name, value in (("--frame-interval-fs", frame_interval_fs), ("--temperature", temperature_K)):
        if value is not None:
            check_positive(name, value)
    if isinstance(path, (str, os.PathLike)):
        path = place = Path(path)
        folder = place.parent if place.name in (MANIFEST, TRAJECTORY) else place
        if (folder / MANIFEST).is_file() or (folder / CHAIN).is_file():
            run = open_run(folder)
            _agree(run, "--temperature", temperature_K, run.temperature_K, "K", 0.02)
            _agree(run, "--frame-interval-fs", frame_interval_fs, run.frame_interval_fs, "fs", 1e-3)
            return run
        exported = lammps.folder_of(place)
        if exported is not None:
            return lammps.open_folder(exported, frame_interval_fs, temperature_K)
        if place.is_dir():
            raise InputError(f"{place} is not a run folder (it holds no {MANIFEST})")
    if not isinstance(path, (str, Path)) and not (hasattr(path, "__iter__") and hasattr(path, "__len__")):
        raise InputError(f"a trajectory is a path or a list of ASE atoms, not {said(path)}")
    return ForeignTrajectory.read(path, frame_interval_fs, temperature_K, format, wrapped, elements)


def _agree(run: Run, option: str, given: float | None, known: float | None, unit: str, within: float) -> None:
    """Raise :class:`InputError` where something else is said of a run than what is on its record."""
    if given is not None and known and abs(given / known - 1) > within:
        raise InputError(f"{run.source} is on record with {known:.6g} {unit}, not {given:g}: leave {option} away, "
                         "it is for files that do not say it")
