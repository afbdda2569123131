"""What the committee costs a run: steps a second with its looks and without, the same run in turns, one thread.

    OMP_NUM_THREADS=1 python workflows/potential/doubt_cost.py -p atomflow-nzsp-zbo

A zinc borate packing, relaxed, at 1500 K. The looks are made at every row of energies, more often than by default, so
that they can be told from noise, and what they cost is scaled to the default. Processor time, so that other work on the
machine counts little. The interval of the ratio is Student's, over pairs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.optimize import LBFGS
from scipy.stats import t as student_t

from atomflow import md, potentials
from atomflow.build.glass import build_glass
from atomflow.cell import Cell
from atomflow.md.doubt import look_every
from atomflow.potentials import Potential

RUN: dict[str, Any] = {"temperature_K": 1500, "timestep_fs": 1, "thermostat_time_fs": 200, "seed": 1}
ROW_FS = md.MDConfig(**RUN, time_ps=1).thermo_interval_fs


def seconds(cell: Cell, potential: Potential, steps: int, with_doubt: bool) -> float:
    """Processor time of one run."""
    config = md.MDConfig(**RUN, time_ps=steps / 1000, doubt_interval_fs=ROW_FS if with_doubt else 0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        md.run(cell, potential, config, Path(folder) / "run")
        return time.process_time() - begun


def relaxed(cell: Cell, potential: Potential) -> Cell:
    atoms = cell.to_ase()
    atoms.calc = potential.calculator()
    LBFGS(atoms, logfile=os.devnull).run(fmax=1.0, steps=60)
    return Cell(cell.numbers, atoms.positions, cell.lattice_A)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-p", "--potential", default="atomflow-nzsp-zbo")
    parser.add_argument("--units", type=int, default=5, help="formula units of (ZnO)2(B2O3)3, 19 atoms each")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    potential = potentials.load(options.potential, device="cpu")
    cell = relaxed(build_glass(units=options.units, seed=1), potential)
    every = look_every(md.MDConfig(**RUN, time_ps=1), len(potential.identity.committee))
    seconds(cell, potential, every, True)  # models opened, memory warmed
    ratios = []
    for pair in range(options.pairs):
        order = (True, False) if pair % 2 else (False, True)
        took = {with_doubt: seconds(cell, potential, options.steps, with_doubt) for with_doubt in order}
        ratios.append(1 + (took[True] / took[False] - 1) * ROW_FS / every)
        print(f"pair {pair + 1}: {options.steps / took[False]:.2f} steps/s without, {options.steps / took[True]:.2f} "
              f"with a look every {ROW_FS:g} steps", flush=True)  # fmt: skip
    mean, half = np.mean(ratios), student_t.ppf(0.975, len(ratios) - 1) * np.std(ratios, ddof=1) / len(ratios) ** 0.5
    print(f"{potential.identity.name}, {len(potential.identity.committee)} further members, {len(cell)} atoms, a look "
          f"every {every} steps: {100 * (mean - 1):+.2f} % [{100 * (mean - half - 1):+.2f}, "
          f"{100 * (mean + half - 1):+.2f}] processor time")  # fmt: skip


if __name__ == "__main__":
    main()
