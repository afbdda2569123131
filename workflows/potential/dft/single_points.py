"""Converged density functional forces beside the student's and the teacher's.

    python workflows/potential/dft/single_points.py make -o points/
    python3 workflows/potential/dft/gpaw_worker.py points/points.json points/results 40
    python workflows/potential/dft/single_points.py compare points/ -p NAME [--teacher 7net-l3i5 --python PATH]

``make`` writes small crystals, every atom rattled by 0.05 to 0.15 Å, and held-out frames of dynamics (NZSP, borates,
a surface, a film, a boundary), and for each the settings to compute it with: a reference, other cutoffs (in plane
waves, cutoff and basis are one) and other k-points. ``compare`` shows by how much the forces change between settings
before it compares anything with them, and writes ``results.json``. DFT here judges; nothing is trained on it. PBE on
both sides: the teachers' training set (MPtrj) has PBE, and a Hubbard U on none of these elements.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np

from atomflow import crystals, plain, potentials
from atomflow.distill import dft_points, frames, label

LOWER_EV, CUTOFF_EV, HIGHER_EV = 600.0, 700.0, 950.0
#: Mean-value point of the zone (A. Baldereschi, Phys. Rev. B 7, 5212 (1973)) and its time reversal; checked with all
#: eight of (±1/4, ±1/4, ±1/4), the grid of H. J. Monkhorst and J. D. Pack, Phys. Rev. B 13, 5188 (1976), of twos.
MEAN_VALUE = [[0.25, 0.25, 0.25], [-0.25, -0.25, -0.25]]
QUARTERS = [list(signs) for signs in itertools.product((-0.25, 0.25), repeat=3)]
#: References come before checks of the same cost.
LATER = {"reference": 1.0, "lower-cutoff": 3.0, "cutoff": 8.0, "k-points": 8.0}
#: The labelled set whose held-out frames are computed too.
LABELLED = Path(__file__).parents[1] / "labelled" / "nzsp-zbo.npz"


class Point(NamedTuple):
    """A crystal, strained in volume and rattled; ``other_k`` and ``cutoff`` are tried to show convergence.

    ``lower``: the lower cutoff is tried too, for the sake of the cells that can afford no other.
    """

    crystal: str
    k: list[Any]
    other_k: list[Any] | None = None
    cutoff: bool = False
    seed: int = 0
    rattle_A: float = 0.05
    volume: float = 1.0
    lower: bool = False


class HeldOut(NamedTuple):
    """The first frame of the dynamics of a held-out system at a temperature (K) with so many atoms."""

    system: str
    temperature_K: float
    n_atoms: int
    cutoff_eV: float = CUTOFF_EV
    other_k: list[Any] | None = None


#: Small cells first; every element is in one of those whose cutoff is tried.
POINTS = {
    "Na2O": Point("Na2O_Fm-3m", [3, 3, 3], [4, 4, 4], True, 1, lower=True),
    "ZnO": Point("ZnO_P63mc", [3, 3, 2], [4, 4, 3], True, 3, lower=True),
    "BPO4": Point("BPO4_I-4", [2, 2, 2], [3, 3, 3], True, 2, lower=True),
    "ZrO2-tetragonal": Point("ZrO2_tetr", [3, 3, 2], [4, 4, 3], True, 12, lower=True),
    "SiO2": Point("SiO2_quartz", [2, 2, 2], [3, 3, 3], True, 5, lower=True),
    "Na2O-hot": Point("Na2O_Fm-3m", [3, 3, 3], None, False, 13, 0.15, 1.06),
    "ZnO-hot": Point("ZnO_P63mc", [3, 3, 2], None, False, 14, 0.15, 0.95),
    "BPO4-hot": Point("BPO4_I-4", [2, 2, 2], None, False, 15, 0.12, 1.05),
    "ZrO2": Point("ZrO2_baddeleyite_P21c", [2, 2, 2], [3, 3, 3], False, 4),
    "ZrSiO4": Point("ZrSiO4_zircon_I41amd", [2, 2, 2], None, False, 6),
    "Na2SiO3": Point("Na2SiO3_Cmc21", [2, 2, 2], None, False, 7),
    "B2O3": Point("B2O3-I_P3121", [2, 2, 1], None, False, 8),
    "NZSP": Point("NZSP_C2c_ordered_DFT_Xie2023", MEAN_VALUE, QUARTERS, True, 9, lower=True),
    "NZSP-at-rest": Point("NZSP_C2c_ordered_DFT_Xie2023", MEAN_VALUE, rattle_A=0.0),
    "Zn4B6O13": Point("Zn4B6O13_I-43m", MEAN_VALUE, QUARTERS, False, 10, lower=True),
    "NaBO2": Point("NaBO2_R-3c", MEAN_VALUE, QUARTERS, False, 11),
}
#: What dynamics went through, from systems that no student saw.
HELD_OUT = {
    "NZSP-300K": HeldOut("B-c2c-x2-zn0-d22", 300.0, 40),
    "NZSP-1500K": HeldOut("B-c2c-x2-zn0-d49", 1500.0, 40),
    "glass-1600K": HeldOut("C-melt-3", 1600.0, 28),
    "glass-2500K": HeldOut("D13-glass-B12O22Zn4-17", 2500.0, 38),
    "surface-600K": HeldOut("surface-111", 600.0, 40, LOWER_EV),
    "sealed-1800K": HeldOut("sealed-slab-111", 1800.0, 59, LOWER_EV),
    "boundary-900K": HeldOut("boundary-tilt-111", 900.0, 80, LOWER_EV),
}


def cell_of(chosen: Point) -> ase.Atoms:
    """The primitive cell of the crystal, strained and rattled."""
    structure = crystals.load(chosen.crystal).get_primitive_structure()
    atoms = ase.Atoms([site.specie.symbol for site in structure], positions=structure.cart_coords,
                      cell=structure.lattice.matrix, pbc=True)  # fmt: skip
    atoms.set_cell(atoms.cell * chosen.volume ** (1 / 3), scale_atoms=True)
    atoms.positions += np.random.default_rng(chosen.seed).normal(0, chosen.rattle_A, atoms.positions.shape)
    return atoms


def frame_of(chosen: HeldOut, labelled: Sequence[frames.Frame]) -> ase.Atoms:
    """The cell of a held-out frame of dynamics."""
    for frame in labelled:
        if (frame.split, frame.how, frame.system) == ("test", "md", chosen.system) and (
            frame.temperature_K == chosen.temperature_K and frame.n_atoms == chosen.n_atoms
        ):
            return ase.Atoms(frame.numbers, positions=frame.positions_A, cell=frame.lattice_A, pbc=True)
    raise SystemExit(f"no held-out frame of {chosen.system} at {chosen.temperature_K:g} K in {LABELLED}")


def make(folder: Path) -> None:
    """``points.json``: geometry and settings; ``cost`` orders the work, cheap and references first."""
    folder.mkdir(parents=True, exist_ok=True)
    labelled = frames.read_frames(LABELLED)
    points = [_point(name, cell_of(chosen), chosen, _wanted(chosen)) for name, chosen in POINTS.items()]
    points += [_point(name, frame_of(held, labelled), held, _wanted_of_frame(held)) for name, held in HELD_OUT.items()]
    (folder / "points.json").write_text(json.dumps(points))
    print(f"{len(points)} points, {sum(len(p['settings']) for p in points)} calculations, in {folder / 'points.json'}")


def _wanted(chosen: Point) -> list[tuple[str, float, list[Any]]]:
    """What, cutoff (eV) and k-points of every calculation of a crystal."""
    wanted: list[tuple[str, float, list[Any]]] = [("reference", CUTOFF_EV, chosen.k)]
    wanted += [("cutoff", HIGHER_EV, chosen.k)] if chosen.cutoff else []
    wanted += [("lower-cutoff", LOWER_EV, chosen.k)] if chosen.lower else []
    return wanted + ([("k-points", CUTOFF_EV, chosen.other_k)] if chosen.other_k else [])


def _wanted_of_frame(chosen: HeldOut) -> list[tuple[str, float, list[Any]]]:
    wanted: list[tuple[str, float, list[Any]]] = [("reference", chosen.cutoff_eV, MEAN_VALUE)]
    return wanted + ([("k-points", chosen.cutoff_eV, chosen.other_k)] if chosen.other_k else [])


def _point(
    name: str, atoms: ase.Atoms, chosen: Point | HeldOut, wanted: list[tuple[str, float, list[Any]]]
) -> dict[str, Any]:
    settings = [
        {"what": what, "cutoff_eV": cutoff, "k": k, "cost": _cost(atoms, cutoff, k) * LATER[what]}
        for what, cutoff, k in wanted
    ]
    return {
        "name": name, **chosen._asdict(), "formula": atoms.get_chemical_formula(), "settings": settings,
        "numbers": atoms.numbers.tolist(), "positions_A": atoms.positions.tolist(),
        "lattice_A": atoms.cell.array.tolist(),
    }  # fmt: skip


def _cost(atoms: ase.Atoms, cutoff_eV: float, k: list[Any]) -> float:
    """Plane waves × bands × k-points, relative."""
    n_k = max(1.0, (len(k) if np.ndim(k[0]) else np.prod(k)) / 2)
    return float(atoms.get_volume() * cutoff_eV**1.5 * len(atoms) * n_k)


def compare(folder: Path, potential: str, teacher: str | None, python: str | None) -> dict[str, Any]:
    """Each point that has a reference: how far it is converged, and student's and teacher's errors against it."""
    points, found = dft_points.read(folder)
    told = _teacher(list(points.values()), folder, teacher, python) if teacher else {}
    return dft_points.compare(points, found, potentials.load(potential, dtype="float64"), teacher, told)


def _teacher(
    points: list[dict[str, Any]], folder: Path, teacher: str, python: str | None
) -> dict[str, np.ndarray]:
    """The teacher's forces by point; kept in ``teacher-NAME.json`` beside the points."""
    kept = folder / f"teacher-{teacher.replace(':', '-').replace('/', '-')}.json"
    asked = [[p["name"], p["positions_A"]] for p in points]
    if kept.exists() and json.loads(kept.read_text())["asked"] == asked:
        return {name: np.array(forces) for name, forces in json.loads(kept.read_text())["forces_eV_per_A"].items()}
    work = folder / "teacher"
    work.mkdir(parents=True, exist_ok=True)
    pool = [
        frames.Frame(np.array(p["numbers"]), np.array(p["positions_A"]), np.array(p["lattice_A"]), p["name"], "dft",
                     "rattle", "test")
        for p in points
    ]  # fmt: skip
    frames.write_frames(pool, work / "pool.npz")
    labelled = frames.read_frames(label.label(work, work / "labels", teacher, python))
    found = {frame.system: frame.labels.forces_eV_per_A for frame in labelled if frame.labels is not None}
    told = {name: np.round(forces, 6).tolist() for name, forces in found.items()}
    kept.write_text(json.dumps({"teacher": teacher, "asked": asked, "forces_eV_per_A": told}))
    return found


def _table(result: dict[str, Any]) -> str:
    def shown(value: float | None, digits: int = 3) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    rows = [
        [
            r["name"],
            r["formula"],
            shown(r["change_cutoff_eV_per_A"]),
            shown(r["change_lower-cutoff_eV_per_A"]),
            shown(r["change_k-points_eV_per_A"]),
            shown(r["force_rms_eV_per_A"], 2),
            shown(r["student_rmse_eV_per_A"]),
            shown(r["student_slope"]),
            shown(r.get("teacher_rmse_eV_per_A")),
            shown(r.get("teacher_slope")),
        ]
        for r in result["points"]
    ]
    return plain.table(
        rows,
        ["point", "cell", "change, cutoff", "lower", "change, k", "RMS force", "student RMSE", "slope", "teacher RMSE",
         "slope"],
    )


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make").add_argument("-o", "--output", type=Path, required=True)
    against = commands.add_parser("compare")
    against.add_argument("folder", type=Path)
    against.add_argument("-p", "--potential", default=potentials.DEFAULT)
    against.add_argument("--teacher")
    against.add_argument("--python")
    against.add_argument("-o", "--output", type=Path, help="results.json; beside the points when not given")
    options = parser.parse_args()
    if options.command == "make":
        make(options.output)
        return
    result = compare(options.folder, options.potential, options.teacher, options.python)
    (options.output or options.folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(_table(result))


if __name__ == "__main__":
    main()
