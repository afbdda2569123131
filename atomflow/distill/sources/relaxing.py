"""Frames on the way from a crowded cell to near rest: what relaxations and quenches of packings pass through.

A student that never saw them may send a packing into a hole of its energy, where it was never trained. The way is that
of ``atomflow relax``: LBFGS in steps that are short while forces are large.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.distill.distort import contact_ratio
from atomflow.distill.frames import Frame
from atomflow.distill.sources import starts
from atomflow.distill.sources.config import RelaxingSource
from atomflow.distill.sources.dynamics import CLOSEST
from atomflow.distill.sources.stream import Draw, Job, Stream, distorted, with_copies
from atomflow.md.relaxation import longest_step_A

if TYPE_CHECKING:
    import ase


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of a relaxation: positions (N, 3), the energy, and the longest force vector."""

    positions_A: np.ndarray
    energy_eV: float
    fmax_eV_per_A: float


def jobs(source: RelaxingSource, stream: Stream) -> list[Job]:
    from atomflow import potentials

    draws = starts.draws(source.start, stream)
    calculator = potentials.load(source.potential).calculator()  # type: ignore[attr-defined]
    return [partial(_frames, source, calculator, draw) for draw in draws]


def _frames(source: RelaxingSource, calculator: Any, draw: Draw) -> Iterator[Frame]:
    import ase

    start, rng = draw()
    positions, lattice, _ = distorted(start, rng)
    atoms = ase.Atoms(list(start.symbols), positions=positions, cell=lattice, pbc=True)
    atoms.calc = calculator
    way = [moment for moment in relaxation(atoms, source.fmax_eV_per_A, source.max_steps)
           if moment.fmax_eV_per_A <= source.largest_force_eV_per_A]
    falls = np.array([moment.energy_eV if source.even_in == "energy" else np.log(moment.fmax_eV_per_A)
                      for moment in way])
    taken = (start.frame(way[k].positions_A, lattice, "relax", None) for k in evenly_fallen(falls, source.frames))
    yield from with_copies(taken, source, rng)


def relaxation(atoms: ase.Atoms, fmax_eV_per_A: float, max_steps: int) -> Iterator[Moment]:
    """Every step of relaxing ``atoms``, in place, from where they are to rest, or to the last that makes sense.

    The way is over where two atoms come too close or the energy is not a number any more.
    """
    from ase.optimize import LBFGS

    symbols, lattice = np.array(atoms.get_chemical_symbols()), atoms.cell.array
    optimiser = LBFGS(atoms, logfile=None)  # type: ignore[arg-type]
    for _ in optimiser.irun(fmax=fmax_eV_per_A, steps=max_steps):
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        sane = np.isfinite(energy) and np.isfinite(forces).all()
        if not sane or contact_ratio(symbols, atoms.positions, lattice) < CLOSEST:
            return
        largest = float(np.linalg.norm(forces, axis=1).max())
        optimiser.maxstep = longest_step_A(largest)
        yield Moment(atoms.positions.copy(), energy, largest)


def evenly_fallen(values: np.ndarray, count: int) -> list[int]:
    """Up to ``count`` steps, in order: where ``values`` first fell by even parts of their whole fall, and the last."""
    if not len(values):
        return []
    fallen = np.maximum.accumulate(values[0] - values)
    levels = np.linspace(0.0, fallen[-1], count)[:-1]
    return sorted({*(int(np.searchsorted(fallen, level)) for level in levels), len(values) - 1})
