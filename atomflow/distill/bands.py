"""A climbing nudged elastic band that may be stopped at any step and goes on from its last images.

This file imports nothing of atomflow: it runs in the teacher's environment too (see operations.py), so that student
and teacher climb alike. In order:

1. both ends come to rest (LBFGS, to half of ``fmax``);
2. the band, nobody climbing, until the force on every image, across the path and along the springs, is below 2 ``fmax``
   (improved tangents: Henkelman & Jónsson, J. Chem. Phys. 113, 9978 (2000); FIRE);
3. only then the highest image climbs (Henkelman, Uberuaga & Jónsson, ibid. 9901), until all are below ``fmax``.

Images that rest already are not asked again (Lindgren, Kastlunger & Peterson, J. Chem. Theory Comput. 15, 5787 (2019):
ASE's ``DyNEB``), ends never: most evaluations are saved there, and the criterion is the same.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes

#: Optimiser steps between two times that the images are written; seconds between two words about how far it is.
KEEP_EVERY, TELL_EVERY_S = 3, 15.0
STAGES = ("the first end", "the last end", "the band", "the climb")


def to_atoms(cell: dict[str, Any]) -> ase.Atoms:
    """ASE atoms of a cell, periodic in all directions."""
    return ase.Atoms(cell["numbers"], positions=cell["positions_A"], cell=cell["lattice_A"], pbc=True)


def to_cell(atoms: ase.Atoms) -> dict[str, Any]:
    """The JSON-able cell of ASE atoms."""
    return {
        "numbers": [int(z) for z in atoms.numbers],
        "positions_A": atoms.positions.tolist(),
        "lattice_A": atoms.cell.array.tolist(),
    }


def band(
    cells: Sequence[ase.Atoms],
    images: int = 3,
    fmax_eV_per_A: float = 0.05,
    steps: int = 60,
    start: Sequence[dict[str, Any]] | None = None,
    keep: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The band of ``images`` images between two cells, and the barriers there and back.

    Args:
        cells: both ends, with the calculator to ask.
        steps: twice so many for the band, three times so many for each end.
        start: a path of ``images`` + 2 cells to begin from, its ends in place of ``cells``; without it the band begins
            interpolated by distances (IDPP) between the relaxed ends, so that nothing overlaps.
        keep: file of the last images; where it exists, the band goes on from them.
        say: told how far it is.

    Raises:
        ValueError: a start with another number of images.
    """
    if start is not None and len(start) != images + 2:
        raise ValueError(f"the band has {images} images between its ends, its start has {len(start) - 2}")
    ends = list(cells) if start is None else [to_atoms(start[0]), to_atoms(start[-1])]
    between = [ends[0].copy() for _ in range(images)] if start is None else [to_atoms(cell) for cell in start[1:-1]]
    run = _Run([ends[0], *between, ends[-1]], cells[0].calc, fmax_eV_per_A, steps, keep, say or (lambda text: None))
    return run.result(interpolated=start is None)


class _Own(Calculator):
    """Remembers the last answer for one image, where all images ask one calculator."""

    implemented_properties = ("energy", "forces")  # type: ignore[assignment]

    def __init__(self, asked: Any, run: _Run) -> None:
        super().__init__()
        self.asked, self.run = asked, run

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        copy: Any = atoms.copy()
        copy.calc = self.asked
        self.results = {"forces": copy.get_forces(), "energy": copy.get_potential_energy()}
        self.run.evaluations += 1


class _Run:
    """One band from its ends to its saddle: the images, the stage they are in, and what they cost so far."""

    def __init__(
        self, path: list[ase.Atoms], asked: Any, fmax: float, steps: int, keep: Path | None, say: Callable[[str], None]
    ) -> None:
        self.path, self.fmax, self.steps, self.keep, self.say = path, fmax, steps, keep, say
        self.stage, self.done, self.evaluations, self.before_s = 0, 0, 0, 0.0
        if keep is not None and keep.exists():
            kept = json.loads(keep.read_text())
            self.stage, self.done = kept["stage"], kept["steps"]
            self.evaluations, self.before_s = kept["evaluations"], kept["seconds"]
            for image, cell in zip(path, kept["cells"], strict=True):
                image.positions[:] = cell["positions_A"]
            say(f"goes on with {STAGES[self.stage]}, {self.evaluations} force calls were made before")
        self.begun = self.told = time.monotonic()
        for image in path:
            image.calc = _Own(asked, self)

    def result(self, interpolated: bool) -> dict[str, Any]:
        if self.stage < 2:
            self._ends(interpolated)
        converged = (self.stage == 3 or self._band(climb=False)) and self._band(climb=True)
        chain = self._chain(climb=self.stage == 3)
        chain.dynamic_relaxation = False
        across = np.linalg.norm(chain.get_forces(), axis=1).max()
        energies = np.array([image.get_potential_energy() for image in self.path])
        at_rest = max(_largest(self.path[0]), _largest(self.path[-1])) <= self.fmax / 2
        top = int(energies.argmax())
        return {
            "cells": [to_cell(image) for image in self.path],
            "energies_eV": energies.tolist(),
            "converged": bool(converged and at_rest),
            "climbed": self.stage == 3,
            "largest_force_eV_per_A": float(across),
            "forward_eV": float(energies[top] - energies[0]),
            "backward_eV": float(energies[top] - energies[-1]),
            "steps": self.done,
            "evaluations": self.evaluations,
            "seconds": self._seconds(),
        }

    def _ends(self, interpolated: bool) -> None:
        from ase.mep import NEB
        from ase.optimize import LBFGS

        for stage, end in ((0, self.path[0]), (1, self.path[-1])):
            if stage < self.stage:
                continue
            self.stage = stage
            optimizer = LBFGS(end, logfile=os.devnull)
            self._attend(optimizer, end, self.fmax / 2, 3 * self.steps)
            optimizer.run(fmax=self.fmax / 2, steps=3 * self.steps)
        if interpolated:
            NEB(self.path, method="improvedtangent").interpolate(method="idpp", mic=True)
        self.stage = 2
        self._write()

    def _band(self, climb: bool) -> bool:
        """Whether the band came to rest in the steps that are left."""
        from ase.optimize import FIRE

        self.stage = 3 if climb else 2
        before, chain = self.done, self._chain(climb)
        optimizer = FIRE(chain, logfile=os.devnull)  # type: ignore[arg-type]

        def count() -> None:
            self.done = before + optimizer.nsteps

        optimizer.attach(count)
        self._attend(optimizer, chain, chain.fmax, 2 * self.steps - before)
        return bool(optimizer.run(fmax=chain.fmax, steps=2 * self.steps - before))

    def _chain(self, climb: bool) -> Any:
        from ase.mep import DyNEB

        return DyNEB(self.path, k=0.3, climb=climb, fmax=self.fmax if climb else 2 * self.fmax,
                     method="improvedtangent", allow_shared_calculator=True)  # fmt: skip

    def _attend(self, optimizer: Any, moving: Any, fmax: float, limit: int) -> None:
        """Have the images written every few steps, and a word said now and then."""
        seen: list[tuple[int, float, float]] = []

        def look() -> None:
            force = float(np.linalg.norm(moving.get_forces(), axis=1).max())
            seen.append((optimizer.nsteps, force, time.monotonic()))
            self._write()
            if force > fmax and time.monotonic() - self.told >= TELL_EVERY_S:
                self.told = time.monotonic()
                self.say(f"{STAGES[self.stage]}, step {optimizer.nsteps}: largest force {force:.2f} eV/Å, to come "
                         f"below {fmax:.3f}; {time_left(seen, fmax, limit)}")  # fmt: skip

        optimizer.attach(look, interval=KEEP_EVERY)

    def _write(self) -> None:
        if self.keep is None:
            return
        partial = self.keep.with_suffix(".partial")
        kept = {"stage": self.stage, "steps": self.done, "evaluations": self.evaluations, "seconds": self._seconds(),
                "cells": [to_cell(image) for image in self.path]}  # fmt: skip
        partial.write_text(json.dumps(kept))
        os.replace(partial, self.keep)

    def _seconds(self) -> float:
        return self.before_s + time.monotonic() - self.begun


def _largest(atoms: ase.Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def time_left(seen: Sequence[tuple[int, float, float]], fmax: float, limit: int) -> str:
    """What is left of a stage, in words, from (step, largest force, clock in s) so far.

    If the largest force has been falling, as many steps as it takes at that rate; no more than all that are allowed.
    """
    recent = seen[-4:]
    if len(recent) < 2:
        return f"at most {limit} steps"
    (first, high, begun), (last, low, now) = recent[0], recent[-1]
    pace = (now - begun) / (last - first)
    if low < high:
        needed = (last - first) * math.log(low / fmax) / math.log(high / low)
        if needed <= limit - last:
            return f"{_span(pace * needed)} more if it goes on falling so"
    return f"no longer than {_span(pace * (limit - last))} (all its steps)"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
