"""Density functional single points beside a student and its teacher: how far converged they are, and how far off it is.

A folder of points holds ``points.json`` (geometries, and the settings to compute each with), ``results/NAME-WHAT.json``
(forces, from a code in its own environment) and, if a teacher was asked, ``teacher-NAME.json``
(``workflows/potential/dft`` makes all three). WHAT is ``reference``, or another setting that shows convergence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np

from atomflow.errors import InputError
from atomflow.potentials import Potential

#: Settings besides the reference, in the order of tables.
OTHERS = ("cutoff", "lower-cutoff", "k-points")


def read(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Points by name, and results by file stem; :class:`InputError` where there are none."""
    try:
        points = {point["name"]: point for point in json.loads((folder / "points.json").read_text())}
        found = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "results").glob("*.json"))}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder} holds no points.json that workflows/potential/dft/single_points.py made") from None
    if not any(stem.endswith("-reference") for stem in found):
        raise InputError(f"there are no results in {folder / 'results'} yet; run gpaw_worker.py first")
    return points, found


def kept_teacher(folder: Path, points: Mapping[str, dict[str, Any]]) -> tuple[str | None, dict[str, np.ndarray]]:
    """A teacher and its forces by point, kept beside the points; only those of points as they are now."""
    for path in sorted(folder.glob("teacher-*.json")):
        data = json.loads(path.read_text())
        asked = dict(data["asked"])
        told = {name: np.array(forces) for name, forces in data["forces_eV_per_A"].items()
                if name in points and asked.get(name) == points[name]["positions_A"]}  # fmt: skip
        if told:
            return str(data["teacher"]), told
    return None, {}


def compare(
    points: Mapping[str, dict[str, Any]], found: Mapping[str, dict[str, Any]], potential: Potential,
    teacher: str | None, told: Mapping[str, np.ndarray],
) -> dict[str, Any]:  # fmt: skip
    """Every point that has a reference and whose elements the potential knows, JSON-able.

    Args:
        told: the teacher's forces (N, 3) in eV/Å, by point.
    """
    calculator = potential.calculator()
    known = potential.identity.elements
    rows = [
        _row(point, found, calculator, told.get(name))
        for name, point in points.items()
        if f"{name}-reference" in found and (known == ("any",) or {*_atoms(point).symbols} <= set(known))
    ]
    return {
        "functional": "PBE",
        "code": f"GPAW {next(iter(found.values()))['gpaw']}, PAW, plane waves",
        "student": potential.identity.model_dump(),
        "teacher": teacher,
        "points": rows,
    }


def _row(
    point: dict[str, Any], found: Mapping[str, dict[str, Any]], calculator: Any, told: np.ndarray | None
) -> dict[str, Any]:
    name = point["name"]
    result = found[f"{name}-reference"]
    reference = np.array(result["forces_eV_per_A"])
    atoms = _atoms(point)
    atoms.calc = calculator
    own = atoms.get_forces()
    row: dict[str, Any] = {
        "name": name,
        "formula": point["formula"],
        "settings": result["settings"],
        "force_rms_eV_per_A": _rms(reference),
        "net_force_eV_per_A": result["net_force_eV_per_A"],
        "forces_eV_per_A": reference.tolist(),
    }
    for what in OTHERS:
        other = found.get(f"{name}-{what}")
        row[f"change_{what}_eV_per_A"] = (
            float(np.abs(np.array(other["forces_eV_per_A"]) - reference).max()) if other else None
        )
    row |= {"student_rmse_eV_per_A": _rms(own - reference), "student_slope": _slope(own, reference)}
    if told is not None:
        row |= {"teacher_rmse_eV_per_A": _rms(told - reference), "teacher_slope": _slope(told, reference)}
    return row


def _atoms(point: dict[str, Any]) -> ase.Atoms:
    return ase.Atoms(point["numbers"], positions=point["positions_A"], cell=point["lattice_A"], pbc=True)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).mean()))


def _slope(forces: np.ndarray, reference: np.ndarray) -> float:
    return float((forces * reference).sum() / (reference**2).sum())
