"""Runs in the teacher's own environment: reads a pool, writes the teacher's labels in parts. Needs numpy, ASE and it.

    python label_worker.py POOL.npz PARTS_FOLDER TEACHER PART_SIZE
    python label_worker.py --check TEACHER                          # open it, print its package and version

One part is written whole and renamed; parts that exist are not computed again. A line of JSON on standard output when
the teacher is open, and for every frame. This file imports nothing of atomflow: the teacher's environment need not
have it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

SEVENNET = ("7net-0", "7net-l3i5", "7net-mf-ompa", "7net-omni", "7net-omat")


def calculator_of(teacher: str):
    """The ASE calculator of a teacher by name, and the version of the package it comes from."""
    if teacher in SEVENNET:
        import sevenn
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator(teacher, device=_device()), f"sevenn {sevenn.__version__}"
    if teacher.startswith("mace:"):
        import mace
        from mace.calculators import MACECalculator

        return (MACECalculator(model_paths=teacher.removeprefix("mace:"), device=_device(), default_dtype="float64"),
                f"mace-torch {mace.__version__}")
    if teacher == "chgnet":
        import chgnet
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device=_device()), f"chgnet {chgnet.__version__}"
    if teacher == "lennard-jones":
        import ase
        from ase.calculators.lj import LennardJones

        return LennardJones(sigma=2.0, epsilon=0.05, rc=5.0, smooth=True), f"ase {ase.__version__}"
    raise SystemExit(f"unknown teacher '{teacher}'; known: {', '.join(SEVENNET)}, chgnet, mace:FILE, lennard-jones")


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def main(pool: str, folder: str, teacher: str, part_size: int) -> None:
    import ase

    calculator, version = calculator_of(teacher)
    with np.load(pool, allow_pickle=False) as data:
        counts, numbers = data["n_atoms"], data["numbers"].astype(int)
        positions, lattices = data["positions_A"].astype(float), data["lattices_A"]
    ends = np.cumsum(counts)
    print(json.dumps({"ready": version}), flush=True)
    for first in range(0, len(counts), part_size):
        part = Path(folder) / f"{first:06d}.npz"
        if part.exists():
            continue
        energies, forces, stresses = [], [], []
        for index in range(first, min(first + part_size, len(counts))):
            atoms = slice(ends[index] - counts[index], ends[index])
            frame = ase.Atoms(numbers[atoms], positions=positions[atoms], cell=lattices[index], pbc=True)
            frame.calc = calculator
            energies.append(frame.get_potential_energy())
            forces.append(frame.get_forces())
            stresses.append(frame.get_stress(voigt=False))
            print(json.dumps({"frame": index, "atoms": int(counts[index])}), flush=True)
        partial = part.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, energy_eV=np.array(energies), forces_eV_per_A=np.concatenate(forces),
                                stress_eV_per_A3=np.stack(stresses), teacher=np.array(teacher),
                                version=np.array(version))
        os.replace(partial, part)


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        print(calculator_of(sys.argv[2])[1])
        sys.exit()
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
