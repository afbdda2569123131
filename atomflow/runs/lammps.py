"""LAMMPS's data file, and the folder of a LAMMPS run that atomflow wrote, read back as one trajectory.

LAMMPS wants **a** along x and **b** in the xy plane (https://docs.lammps.org/Howto_triclinic.html): the box is turned,
and everything in it turns along. Lengths are Å (units metal).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell, read_cell
from atomflow.errors import InputError
from atomflow.runs.foreign import ForeignTrajectory
from atomflow.runs.formats import CutShort
from atomflow.runs.formats_lammps import lammps_dump
from atomflow.runs.frames import Frame

#: what atomflow writes beside the input, and reads when the dump comes back
FACTS, FORMAT = "lammps.json", "atomflow-lammps"
CELL_FILE = "cell.extxyz"


def turned(lattice_A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lattice (rows) as LAMMPS wants it, and the rotation R that turns positions: ``positions @ R``."""
    a, b, _ = lattice_A
    x = a / np.linalg.norm(a)
    z = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    rotation = np.stack([x, np.cross(z, x), z], axis=1)
    return np.tril(lattice_A @ rotation), rotation


def data_text(cell: Cell, title: str, wrap: bool = False) -> str:
    """A data file of ``cell``: types by element in order of first appearance, masses, atoms in the cell's order.

    Atoms are written inside the box with image flags, so that LAMMPS's unwrapped coordinates are the cell's own;
    with ``wrap`` the flags are left away.
    """
    elements = list(cell.composition)
    lattice, rotation = turned(cell.lattice_A)
    cells = np.floor(cell.fractional).astype(int)
    positions = cell.positions_A @ rotation - cells @ lattice
    types = np.array([elements.index(symbol) + 1 for symbol in cell.symbols])
    masses = dict(zip(cell.symbols.tolist(), cell.masses_amu.tolist(), strict=True))
    named = ", ".join(f"{number} = {element}" for number, element in enumerate(elements, start=1))
    lines = [f"{title}; units metal; atom types: {named}", "", f"{len(cell)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0.0 {lattice[k, k]:.16g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{lattice[1, 0]:.16g} {lattice[2, 0]:.16g} {lattice[2, 1]:.16g} xy xz yz", "", "Masses", ""]
    lines += [f"{number} {masses[element]:.10g}  # {element}" for number, element in enumerate(elements, start=1)]
    lines += ["", "Atoms  # atomic", ""]
    for index, (kind, (x, y, z), image) in enumerate(zip(types, positions, cells, strict=True), start=1):
        flags = "" if wrap else " {} {} {}".format(*image)
        lines.append(f"{index} {kind} {x:.16g} {y:.16g} {z:.16g}{flags}")
    return "\n".join(lines) + "\n"


# --- back again ---------------------------------------------------------------------------------------------------


def folder_of(place: Path) -> Path | None:
    """The folder written by ``atomflow export lammps`` that ``place`` is, or one of whose dumps it is; else None."""
    folder = place if place.is_dir() else place.parent if place.name in {p.name for p in dumps(place.parent)} else None
    return folder if folder is not None and (folder / FACTS).is_file() else None


def dumps(folder: Path) -> list[Path]:
    """``dump.<first step>.lammpstrj``, in the order of their steps: one of the run, one of each resumption."""
    found = [path for path in folder.glob("dump.*.lammpstrj") if path.name.split(".")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def open_folder(folder: Path, frame_interval_fs: float | None, temperature_K: float | None) -> ForeignTrajectory:
    """The run in ``folder`` as one trajectory, with the regions, temperature and potential that it was written with.

    Where a run was resumed, frames of the earlier dump beyond the restart are left out: they were computed again.

    Raises:
        InputError: no dump yet, a damaged one, or one of another cell.
    """
    facts = _facts(folder)
    if not dumps(folder):
        raise InputError(f"{folder} holds no dump yet (dump.0.lammpstrj); run LAMMPS on run.in there")
    cell = read_cell(folder / CELL_FILE)
    known: dict[str, Any] = {"temperature_K": facts["temperature_K"], "regions": cell.regions, "sites": cell.sites}
    timestep_fs = float(facts["config"]["timestep_fs"])  # the time in the dumps begins anew at a restart
    frames = (replace(frame, **known, time_fs=frame.step * timestep_fs)
              for frame in _frames(folder, cell) if frame.step is not None)
    trajectory = ForeignTrajectory.read(frames, frame_interval_fs, temperature_K, None, "auto", None, name=str(folder))
    trajectory.potential = facts["potential"]
    return trajectory


def _frames(folder: Path, cell: Cell) -> Iterator[Frame]:
    paths = dumps(folder)
    starts: Sequence[float] = [int(path.name.split(".")[1]) for path in paths[1:]] + [float("inf")]
    for path, end in zip(paths, starts, strict=True):
        try:
            for frame in lammps_dump(path, None):
                if frame.step is not None and frame.step >= end:
                    break
                if len(frame.numbers) != len(cell) or (frame.numbers != cell.numbers).any():
                    raise InputError(f"{path} holds other atoms than {folder / CELL_FILE}")
                yield frame
        except CutShort:
            if path == paths[-1]:
                raise
            raise InputError(f"{path} is cut short before the step at which the run was resumed (the next dump begins "
                             "there): frames are missing") from None


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {folder / FACTS}: {error}") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"{folder / FACTS} was not written by atomflow export lammps")
    return facts
