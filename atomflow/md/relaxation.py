"""Relaxation of atoms, and of the cell where asked.

ASE's LBFGS and Frechet cell filter do the work, on the forces of atomflow's own batched model. A quasi-Newton step
needs several times fewer evaluations than FIRE, and on a CPU the evaluations are the whole cost; an optimiser of our
own would have to earn its keep against code that many people watch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError, RunFailed, RunStopped, check_positive
from atomflow.md.journal import Journal, JournalCalculator
from atomflow.md.session import OutOfMemory, is_out_of_memory
from atomflow.md.signals import StopRequest
from atomflow.plain import Shown
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from atomflow.potentials.ase_calculator import BatchCalculator

#: Of the sum of covalent radii: no chemistry brings two atoms nearer than this.
_FUSED = 0.5
#: A step moves no atom farther than this, in Å, and less far while a force in eV/Å is larger than that: a long step
#: out of a crowded packing can land where no potential was trained.
_LONGEST, _LONGEST_WHILE_CROWDED, _CROWDED = 0.2, 0.05, 2.0
#: Forces in eV/Å beyond which no structure is near a minimum, whatever it is for: a wrong unit.
_NO_MINIMUM = 10.0
#: (step, energy_eV, largest force in eV/Å)
Report = Callable[[int, float, float], None]


@dataclass(frozen=True, repr=False)
class RelaxResult(Shown):
    """What relaxing did. ``fmax_eV_per_A`` is the longest force vector at the end; stress is tension positive.

    ``converged`` is False when ``steps`` reached the limit first: the cell returned is then the best it came to.
    ``stress_GPa`` is (3, 3) nested lists, None for a fixed cell.
    """

    converged: bool
    steps: int
    energy_before_eV: float
    energy_after_eV: float
    fmax_before_eV_per_A: float
    fmax_eV_per_A: float
    volume_before_A3: float
    volume_after_A3: float
    largest_displacement_A: float
    stress_GPa: list[list[float]] | None
    cell_too: bool

    def text(self) -> str:
        """For people, as ``atomflow relax`` prints it."""
        held = "atoms and cell" if self.cell_too else "atoms, the cell held"
        return (f"{'converged' if self.converged else 'NOT converged'} in {self.steps} steps ({held})\n"
                f"energy: {self.energy_before_eV:.6f} → {self.energy_after_eV:.6f} eV\n"
                f"largest force: {self.fmax_before_eV_per_A:.4f} → {self.fmax_eV_per_A:.4f} eV/Å\n"
                f"volume: {self.volume_before_A3:.3f} → {self.volume_after_A3:.3f} Å³")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def relax(
    cell: Cell,
    potential: Potential,
    cell_too: bool = False,
    fmax_eV_per_A: float = 0.02,
    max_steps: int = 500,
    progress: Report | None = None,
    journal: str | Path | None = None,
) -> tuple[Cell, RelaxResult]:
    """Move atoms (and lattice vectors, with ``cell_too``) downhill until every force is below ``fmax_eV_per_A``.

    With ``cell_too`` the same bound holds for the forces of ASE's Frechet filter on the cell. ``cell`` is not changed.

    Args:
        journal: file that keeps what has been computed. After a kill or a stop the same call goes on where it was, and
            ends with the very same bits; the file is gone when it is done.

    Raises:
        InputError: an element the potential does not know, or settings that make no sense; another process has the
            journal.
        OutOfMemory: of the GPU.
        RunStopped: only with a journal: SIGTERM, SIGINT or SIGUSR1 came.
        RunFailed: a force or the energy became something that is not a number, or two atoms fell into one another.
    """
    check_cell_given(cell)
    check_potential_given(potential)
    check_positive("fmax_eV_per_A (--fmax)", fmax_eV_per_A)
    if fmax_eV_per_A > _NO_MINIMUM:
        raise InputError(f"fmax_eV_per_A (--fmax) of {fmax_eV_per_A:g} eV/Å is no minimum; 0.02 is usual")
    if max_steps < 1:
        raise InputError(f"relaxation needs at least one step, not {max_steps}")
    potential.check_elements(cell.numbers)
    try:
        return _relax_by_journal(cell, potential, cell_too, fmax_eV_per_A, max_steps, progress, journal)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of GPU memory while relaxing {len(cell)} atoms; take a GPU with more memory, a smaller "
                          f"cell, or the CPU") from None


def _relax_by_journal(
    cell: Cell, potential: Potential, cell_too: bool, fmax_eV_per_A: float, max_steps: int, progress: Report | None,
    journal: str | Path | None,
) -> tuple[Cell, RelaxResult]:
    from atomflow.potentials.ase_calculator import BatchCalculator

    if journal is None:
        return _relax(cell, BatchCalculator(potential), cell_too, fmax_eV_per_A, max_steps, progress)
    identity = potential.identity
    about = {"cell": cell.sha256, "potential": identity.sha256, "dtype": identity.dtype}
    with StopRequest() as stop, Journal(Path(journal), about) as book:

        def watch(step: int, energy_eV: float, fmax: float) -> None:
            if progress is not None:
                progress(step, energy_eV, fmax)
            if stop.received is not None:
                raise RunStopped(f"relaxing was stopped by {stop.received} at step {step}; the same command goes on")

        return _relax(cell, JournalCalculator(potential, book), cell_too, fmax_eV_per_A, max_steps, watch)


def _relax(
    cell: Cell, calculator: BatchCalculator, cell_too: bool, fmax_eV_per_A: float, max_steps: int,
    progress: Report | None,
) -> tuple[Cell, RelaxResult]:
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    atoms = cell.to_ase()
    atoms.calc = calculator
    identity = calculator.potential.identity
    before = _energy_and_fmax(atoms)
    moving: Any = FrechetCellFilter(atoms) if cell_too else atoms
    optimiser: Any = LBFGS(moving, logfile=None)  # type: ignore[arg-type]

    def watch() -> None:  # before every step
        energy, fmax = _energy_and_fmax(atoms)
        optimiser.maxstep = longest_step_A(fmax)
        if progress is not None:
            progress(optimiser.nsteps, energy, fmax)

    optimiser.attach(watch)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="logm result may be inaccurate")  # scipy, of an error of 1e-13
        converged = bool(optimiser.run(fmax=fmax_eV_per_A, steps=max_steps))
    after = _energy_and_fmax(atoms)
    provenance = {**cell.provenance, "relaxed": {
        "potential": identity.name, "potential_sha256": identity.sha256,
        "cell_too": cell_too, "fmax_eV_per_A": fmax_eV_per_A, "converged": converged,
    }}
    relaxed = Cell(cell.numbers, atoms.positions, atoms.cell.array, cell.regions, cell.sites, provenance)
    _check_apart(relaxed, identity.name)
    moved = relaxed.fractional - cell.fractional
    return relaxed, RelaxResult(
        converged=converged,
        steps=int(optimiser.nsteps),
        energy_before_eV=before[0],
        energy_after_eV=after[0],
        fmax_before_eV_per_A=before[1],
        fmax_eV_per_A=after[1],
        volume_before_A3=cell.volume_A3,
        volume_after_A3=relaxed.volume_A3,
        largest_displacement_A=float(np.linalg.norm(moved @ relaxed.lattice_A, axis=1).max()),
        stress_GPa=(atoms.get_stress(voigt=False) * EV_PER_A3_IN_GPA).tolist() if cell_too else None,
        cell_too=cell_too,
    )


def longest_step_A(fmax_eV_per_A: float) -> float:
    """How far the next step may move an atom at most, by the largest force now."""
    return _LONGEST_WHILE_CROWDED if fmax_eV_per_A > _CROWDED else _LONGEST


def _check_apart(cell: Cell, potential: str) -> None:
    """No two atoms nearer than half a bond: where a potential was never trained, its energy may fall."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    first, second, distances_A = neighbor_list("ijd", cell.to_ase(), _FUSED * covalent_radii[cell.numbers])
    if len(distances_A):
        worst = int(np.argmin(distances_A))
        names = [f"{cell.symbols[k]} (atom {k})" for k in (int(first[worst]), int(second[worst]))]
        raise RunFailed(f"relaxing drove {names[0]} and {names[1]} to {distances_A[worst]:.2f} Å from one another, "
                        f"where {potential} was never trained; begin from a cell without short contacts, or quench it")


def _energy_and_fmax(atoms: Any) -> tuple[float, float]:
    energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise RunFailed("relaxing led to an energy or force that is not a number; look for overlapping atoms")
    return energy, float(np.linalg.norm(forces, axis=1).max())
