"""What is asked of student and teacher alike: relaxing, a band, dynamics, single points. Needs numpy and ASE only.

This file imports nothing of atomflow: it runs in the teacher's environment too, so that both sides do the same thing.
A task is ``{"operation": name, "cells": [cell, ...], "settings": {...}}`` and a cell ``{"numbers", "positions_A",
"lattice_A"}``; tasks and results are plain JSON. A band may have a ``"start"`` besides, the path that it begins from.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np

if __package__:
    from atomflow.distill.bands import band, to_atoms, to_cell
else:  # in the teacher's environment these files lie on the path, and there is no atomflow
    from bands import band, to_atoms, to_cell  # type: ignore[no-redef]


def perform(
    task: dict[str, Any], calculator: Any, keep: Path | None = None, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The result of a task with an ASE calculator; ``seconds`` and ``evaluations`` say what it cost.

    A band writes its images to ``keep`` as it goes, goes on from them, and counts what it cost before too.
    """
    cells = [to_atoms(cell) for cell in task["cells"]]
    counted = _Counted(calculator)
    for atoms in cells:
        atoms.calc = counted.calculator
    begun = time.monotonic()
    settings = task.get("settings", {})
    if task["operation"] == "band":
        result = band(cells, **settings, start=task.get("start"), keep=keep, say=say)
    else:
        result = OPERATIONS[task["operation"]](cells, **settings)
    return {
        "seconds": time.monotonic() - begun,
        "evaluations": counted.calls,
        **result,
        "seconds_per_atom": counted.seconds_per_atom(),
    }


class _Counted:
    """Counts a calculator's evaluations and remembers what each cost."""

    def __init__(self, calculator: Any) -> None:
        self.calculator = calculator
        self.costs: list[float] = []  #: seconds an atom, one evaluation each
        inner = type(calculator).calculate

        def calculate(atoms: Any = None, *args: Any, **named: Any) -> None:
            begun = time.monotonic()
            inner(calculator, atoms, *args, **named)
            number = len(calculator.atoms if atoms is None else atoms)
            self.costs.append((time.monotonic() - begun) / max(number, 1))

        calculator.calculate = calculate

    @property
    def calls(self) -> int:
        return len(self.costs)

    def seconds_per_atom(self) -> float:
        """The median evaluation's; the first, which compiles and warms up, counts only where it is the only one."""
        return float(np.median(self.costs[1:] or self.costs or [0.0]))


def single(cells: list[ase.Atoms]) -> dict[str, Any]:
    """Energy, forces and stress of every cell."""
    found: dict[str, Any] = {"energies_eV": [], "forces_eV_per_A": [], "stresses_eV_per_A3": []}
    for atoms in cells:  # all of one cell before the next: the calculator remembers one
        found["energies_eV"].append(float(atoms.get_potential_energy()))
        found["forces_eV_per_A"].append(np.asarray(atoms.get_forces(), float).tolist())
        found["stresses_eV_per_A3"].append(np.asarray(atoms.get_stress(voigt=False), float).tolist())
    return found


def relax(
    cells: list[ase.Atoms], cell_too: bool = True, fmax_eV_per_A: float = 0.02, steps: int = 200
) -> dict[str, Any]:
    """Every cell at rest, its lattice too unless told otherwise, and the largest force left in each."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    left = []
    for atoms in cells:
        target: Any = FrechetCellFilter(atoms) if cell_too else atoms
        LBFGS(target, logfile=os.devnull).run(fmax=fmax_eV_per_A, steps=steps)
        left.append(float(np.linalg.norm(target.get_forces(), axis=1).max()))
    return {
        "cells": [to_cell(atoms) for atoms in cells],
        "largest_forces_eV_per_A": left,
        "energies_eV": [float(atoms.get_potential_energy()) for atoms in cells],
    }


def dynamics(
    cells: list[ase.Atoms],
    temperature_K: float = 1000.0,
    steps: int = 500,
    timestep_fs: float = 2.0,
    friction_per_fs: float = 0.01,
    every: int = 10,
    seed: int = 1,
) -> dict[str, Any]:
    """Langevin dynamics of one cell at constant volume: positions (F, N, 3) every so many steps, temperatures (F,)."""
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = cells[0]
    random = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1.6 * temperature_K, rng=random)
    motion = Langevin(
        atoms, timestep_fs * units.fs, temperature_K=temperature_K, friction=friction_per_fs / units.fs, rng=random
    )
    frames, temperatures = [], []
    for _ in range(steps // every):
        motion.run(every)
        frames.append(np.round(atoms.positions, 5).tolist())
        temperatures.append(float(atoms.get_temperature()))
    return {"positions_A": frames, "temperatures_K": temperatures, "frame_interval_fs": every * timestep_fs}


OPERATIONS = {"single": single, "relax": relax, "dynamics": dynamics}
