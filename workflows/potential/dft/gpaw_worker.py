"""Density functional single points with GPAW, in GPAW's own environment: reads points.json, writes one JSON a result.

    python3 gpaw_worker.py POINTS.json RESULTS_FOLDER MINUTES

PBE, projector augmented waves (datasets 0.9.20000 or whichever is installed), plane waves, no symmetry but time
reversal. Results that exist are not computed again; no new one is begun after MINUTES. Needs only numpy, ASE and GPAW
(Debian: apt-get install gpaw gpaw-data), nothing of atomflow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import ase
import numpy as np


def single_point(point, settings, log):
    """Energy (eV, on GPAW's own scale) and forces (N, 3) in eV/Å of one point."""
    import gpaw

    atoms = ase.Atoms(point["numbers"], positions=point["positions_A"], cell=point["lattice_A"], pbc=True)
    grid = settings["k"]
    atoms.calc = gpaw.GPAW(
        mode=gpaw.PW(settings["cutoff_eV"]),
        xc="PBE",
        kpts={"size": grid, "gamma": True} if np.ndim(grid[0]) == 0 else grid,
        occupations=gpaw.FermiDirac(0.05),
        convergence={"forces": 0.005},
        symmetry={"point_group": False, "time_reversal": True},
        txt=str(log),
    )
    begun, processor = time.monotonic(), time.process_time()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    return {
        "name": point["name"],
        "settings": settings,
        "energy_eV": energy,
        "forces_eV_per_A": forces.tolist(),
        "net_force_eV_per_A": np.abs(forces.sum(axis=0)).max(),
        "gpaw": gpaw.__version__,
        "iterations": atoms.calc.get_number_of_iterations(),
        "wall_s": time.monotonic() - begun,
        "cpu_s": time.process_time() - processor,
    }


def main(points, folder, minutes):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * float(minutes)
    tasks = [(point, settings) for point in json.loads(Path(points).read_text()) for settings in point["settings"]]
    for point, settings in sorted(tasks, key=lambda task: task[1]["cost"]):
        path = folder / f"{point['name']}-{settings['what']}.json"
        if path.exists():
            continue
        if time.monotonic() > deadline:
            print(f"no time left for {path.stem}", flush=True)
            continue
        result = single_point(point, settings, path.with_suffix(".txt"))
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(result))
        os.replace(partial, path)
        print(
            f"{path.stem}: {result['wall_s']:.0f} s, largest force {np.abs(result['forces_eV_per_A']).max():.2f} eV/Å",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:4])
