"""One frame of a trajectory as plain arrays, whatever program wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from atomflow.errors import InputError

#: Keys of an exported frame: what the run was (JSON), and the mean of the temperature rows from it to the next frame.
RUN_FACTS, MEASURED_K, MEASURED_ROWS = "atomflow_run", "temperature_measured_K", "temperature_rows"
#: What analysis asks of the settings and of the potential of a run.
_OF_CONFIG = ("ensemble", "temperature_K", "temperature_end_K", "thermostat_time_fs", "held_regions")
_OF_POTENTIAL = ("name", "sha256", "dtype")


def facts_text(config: Mapping[str, Any], potential: Mapping[str, Any] | None) -> str:
    """What analysis asks of a run, as one line of JSON that an exported frame carries."""
    told = {"config": {key: config[key] for key in _OF_CONFIG if config.get(key)}}
    if potential:
        told["potential"] = {key: potential[key] for key in _OF_POTENTIAL if potential.get(key)}
    return json.dumps(told)


@dataclass
class Frame:
    """One frame as the file has it.

    Attributes:
        numbers: (N,) atomic numbers.
        fractional: (N, 3) fractional coordinates in this frame's own lattice, wrapped or not.
        lattice_A: (3, 3) rows in Å.
        images: (N, 3) counts of cells crossed, if the file has them (LAMMPS ix iy iz).
        unwrapped: the file says that coordinates are unwrapped (LAMMPS xu yu zu).
        time_fs, step, temperature_K: None where the file does not say.
        measured_K: temperatures that were measured from this frame to the next, for their mean as often as there were
            of them. facts: ``config`` and ``potential`` of the run. Empty where atomflow did not export the frame.
        ids: (N,) ascending ids by which the atoms were sorted, if the file has them.
    """

    numbers: np.ndarray
    fractional: np.ndarray
    lattice_A: np.ndarray
    images: np.ndarray | None = None
    unwrapped: bool = False
    time_fs: float | None = None
    step: int | None = None
    temperature_K: float | None = None
    regions: np.ndarray | None = None
    sites: np.ndarray | None = None
    measured_K: tuple[float, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    ids: np.ndarray | None = None


def from_atoms(atoms: Any) -> Frame:
    """An ASE atoms object as a frame.

    Raises:
        InputError: it has no periodic cell.
    """
    lattice = np.array(atoms.cell.array)
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise InputError("there is no periodic cell")
    info = atoms.info
    time = info.get("time_fs", info["time_ps"] * 1000.0 if "time_ps" in info else None)
    temperature = info.get("temperature_K")
    if temperature is None and atoms.has("momenta") and np.any(atoms.arrays["momenta"]):
        temperature = atoms.get_temperature()
    sites = atoms.arrays.get("site")
    return Frame(
        atoms.numbers.copy(),
        np.linalg.solve(lattice.T, atoms.positions.T).T,
        lattice,
        time_fs=None if time is None else float(time),
        temperature_K=None if temperature is None else float(temperature),
        regions=atoms.arrays.get("region"),
        sites=None if sites is None else np.where(sites == "-", "", sites),
        measured_K=(float(info[MEASURED_K]),) * int(info.get(MEASURED_ROWS, 1)) if MEASURED_K in info else (),
        facts=facts(info.get(RUN_FACTS)),
    )


def facts(stored: Any) -> dict[str, Any]:
    """What :func:`facts_text` wrote; nothing where it was changed."""
    try:
        found = json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
