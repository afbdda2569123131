"""What force errors do not show, measured for a student: writes checks.json, which the card then includes.

    python workflows/potential/checks.py model/NAME.mace.npz --teacher 7net-l3i5 --python TEACHER_PYTHON -o model/

Student: cell at rest, energy drift, dynamics that stays whole, Na hops. Teacher: asked at the student's own results
(stress at its rest, energies along its hop paths), which costs it a few dozen evaluations only.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import ase
import numpy as np

from atomflow import crystals, potentials
from atomflow.distill import checks, decorate, frames, label
from atomflow.units import EV_PER_A3_IN_GPA

ORDERED = "NZSP_C2c_ordered_DFT_Xie2023"


def ordered_cell() -> ase.Atoms:
    """The ordered 40-atom primitive cell of NZSP."""
    structure = crystals.load(ORDERED).get_primitive_structure()
    return ase.Atoms([site.specie.symbol for site in structure], positions=structure.cart_coords,
                     cell=structure.lattice.matrix, pbc=True)


def hop_path(seed: int, images: int = 7) -> list[ase.Atoms]:
    """A random decoration (x = 2) in which one Na goes straight to the nearest empty Na site."""
    rng = np.random.default_rng(seed)
    symbols, positions, lattice = decorate.decorated("monoclinic", 2.0, 0, rng)
    labels, sites, full_lattice = decorate.sites("monoclinic")
    scale = (np.linalg.det(lattice) / np.linalg.det(full_lattice)) ** (1 / 3)
    sodium_sites = sites[labels == "Na"] * scale
    sodium = np.flatnonzero(symbols == "Na")
    empty = [site for site in sodium_sites if np.linalg.norm(positions[sodium] - site, axis=1).min() > 0.5]
    best = None
    for site in empty:
        for atom in sodium:
            vector = (site - positions[atom]) @ np.linalg.inv(lattice)
            vector = (vector - np.round(vector)) @ lattice
            if best is None or np.linalg.norm(vector) < np.linalg.norm(best[1]):
                best = (atom, vector)
    assert best is not None
    path = []
    for part in np.linspace(0, 1, images):
        moved = positions.copy()
        moved[best[0]] += part * best[1]
        path.append(ase.Atoms(list(symbols), positions=moved, cell=lattice, pbc=True))
    return path


def asked_of_teacher(images: list[ase.Atoms], folder: Path, teacher: str, python: str) -> list[frames.Labels]:
    folder.mkdir(parents=True, exist_ok=True)
    pool = [frames.Frame(a.numbers, a.positions, np.array(a.cell), f"image-{k}", "check", "md", "test")
            for k, a in enumerate(images)]
    frames.write_frames(pool, folder / "pool.npz")
    labelled = frames.read_frames(label.label(folder, folder / "labels", teacher, python))
    return [frame.labels for frame in labelled if frame.labels is not None]


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--teacher", default="7net-l3i5")
    parser.add_argument("--python", required=True)
    parser.add_argument("--hops", type=int, default=3)
    parser.add_argument("--ps", type=float, default=5.0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    student = potentials.load(options.model).calculator()
    results: dict[str, object] = {}

    def keep(name: str, value: object) -> None:
        results[name] = value
        (options.output / "checks.json").write_text(json.dumps(results, indent=2) + "\n")
        print(time.strftime("%H:%M:%S"), name, json.dumps(value), flush=True)

    work = options.output / "checks"
    at_rest = checks.relaxed(ordered_cell(), student)
    keep("rest", checks.rest(ordered_cell(), student))
    told = asked_of_teacher([at_rest], work / "rest", options.teacher, options.python)[0]
    keep("teacher_at_students_rest", {
        "stress_GPa": (told.stress_eV_per_A3 * EV_PER_A3_IN_GPA).tolist(),
        "pressure_GPa": float(-np.trace(told.stress_eV_per_A3) / 3 * EV_PER_A3_IN_GPA),
        "largest_force_eV_per_A": float(np.abs(told.forces_eV_per_A).max())})
    keep("energy_drift", checks.energy_drift(at_rest, student, 1000.0, 2.0))
    hops = []
    for seed in range(1, options.hops + 1):
        found, path = checks.barrier_eV(hop_path(seed), student, steps=150)
        told_path = asked_of_teacher(path, work / f"hop{seed}", options.teacher, options.python)
        energies = np.array([image.energy_eV for image in told_path])
        hops.append({"seed": seed, "student": found, "teacher_on_students_path": {
            "forward_eV": float(energies.max() - energies[0]), "backward_eV": float(energies.max() - energies[-1])}})
        keep("hops", hops)
    for temperature in (1500.0, 300.0):
        keep(f"stays_whole_{temperature:.0f}K",
             checks.stays_whole(at_rest.repeat((1, 1, 2)), student, temperature, options.ps))


if __name__ == "__main__":
    main()
