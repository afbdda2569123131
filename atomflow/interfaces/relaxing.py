"""Relaxation of many cells side by side, with the third lattice vector free and the plane held.

ASE's LBFGS moves every cell; energies, forces and stresses come from one flat batch on a GPU, and cell by cell on a
CPU, which is faster there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase.filters import Filter

from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed
from atomflow.potentials import Potential

#: Weight of the third lattice vector among the atoms: with it a boundary's stiffness along the normal is about that of
#: a bond, for cells of about 100 Å² and 25 Å (K = C₃₃ A / c / weight²).
WEIGHT = 0.5
#: Atoms evaluated together on a GPU.
ATOMS_AT_ONCE = 6000
Say = Callable[[str], None]
#: (index of the cell, steps it has taken, energy in eV, largest force in eV/Å, the cell as it is)
Report = Callable[[int, int, float, float, Callable[[], Cell]], None]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed cell, its energy, the largest force left, and whether that is small enough."""

    cell: Cell
    energy_eV: float
    fmax_eV_per_A: float
    steps: int
    converged: bool


class FreeNormal(Filter):
    """Atoms and the third lattice vector **c** of an ASE cell; **a** and **b** stay.

    The variables are y and Δc: an atom that starts at the fraction s of **c** lies at y + s Δc, and **c** grows by Δc.
    With the stress σ, the volume V and the lattice h in rows, dE/dΔc = V h⁻¹[:, 2] σ - Σ F (s - s'), where s' are the
    fractions of the moment.
    """

    def __init__(self, atoms: Any) -> None:
        super().__init__(atoms, indices=range(len(atoms)))
        self.start_A = atoms.cell.array[2].copy()
        self.along = atoms.get_scaled_positions(wrap=False)[:, 2].copy()

    def __len__(self) -> int:
        return len(self.atoms) + 1

    @property
    def _grown_A(self) -> np.ndarray:
        return np.asarray(self.atoms.cell.array[2] - self.start_A)

    def get_positions(self) -> np.ndarray:
        grown = self._grown_A
        return np.vstack([self.atoms.positions - np.outer(self.along, grown), WEIGHT * grown])

    def set_positions(self, positions: np.ndarray, **ignored: Any) -> None:
        grown = positions[-1] / WEIGHT
        self.atoms.set_cell(np.vstack([self.atoms.cell.array[:2], self.start_A + grown]), scale_atoms=False)
        self.atoms.positions = positions[:-1] + np.outer(self.along, grown)

    def get_forces(self, *args: Any, **kwargs: Any) -> np.ndarray:
        forces = self.atoms.get_forces()
        inverse = np.linalg.inv(self.atoms.cell.array)
        slope = self.atoms.get_volume() * inverse[:, 2] @ self.atoms.get_stress(voigt=False)
        now = self.atoms.get_scaled_positions(wrap=False)[:, 2]
        slope = slope - (self.along - now) @ forces
        return np.vstack([forces, -slope / WEIGHT])

    def get_potential_energy(self, **ignored: Any) -> float:
        return float(self.atoms.get_potential_energy())


class Batch:
    """Evaluates ASE cells, several at once on a GPU; keeps the models bound to what it has seen."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self._models: dict[bytes, Any] = {}

    def evaluate(self, frames: Sequence[Any], stress: bool = True) -> None:
        """Give every frame a calculator that holds energy, forces and stress of the moment."""
        at_once = ATOMS_AT_ONCE if self.potential.device.type == "cuda" else 1
        group: list[Any] = []
        for frame in frames:
            if group and sum(map(len, group)) + len(frame) > at_once:
                self._group(group, stress)
                group = []
            group.append(frame)
        if group:
            self._group(group, stress)

    def _group(self, frames: list[Any], stress: bool) -> None:
        import torch
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.stress import full_3x3_to_voigt_6_stress

        from atomflow.potentials.edges import build_edges

        numbers = np.concatenate([frame.numbers for frame in frames])
        owner = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
        key = owner.tobytes() + numbers.tobytes()
        if key not in self._models:
            if len(self._models) > 4:
                self._models.clear()
            self._models[key] = self.potential.batch_model(numbers, owner, len(frames))
        model = self._models[key]
        positions = np.concatenate([frame.positions for frame in frames])
        lattices = np.array([frame.cell.array for frame in frames])
        edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device) if model.needs_edges else None
        answer = model(torch.as_tensor(positions, device=model.device), torch.as_tensor(lattices, device=model.device),
                       edges, stress)  # fmt: skip
        energies, forces = answer.energy_eV.cpu().numpy(), answer.forces_eV_per_A.cpu().numpy()
        stresses = answer.stress_eV_per_A3.cpu().numpy() if stress else None
        if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
            raise RunFailed("an energy or force is not a number; look for overlapping atoms")
        for k, frame in enumerate(frames):
            results = {"energy": float(energies[k]), "forces": forces[owner == k]}
            if stresses is not None:
                results["stress"] = full_3x3_to_voigt_6_stress(stresses[k])
            frame.calc = SinglePointCalculator(frame, **results)


def energies_eV(cells: Sequence[Cell], potential: Potential, batch: Batch | None = None) -> np.ndarray:
    """(n,) energies of cells as they are."""
    frames = [cell.to_ase() for cell in cells]
    (batch or Batch(potential)).evaluate(frames, stress=False)
    return np.array([frame.get_potential_energy() for frame in frames])


def relax_many(
    cells: Sequence[Cell],
    potential: Potential,
    free_normal: bool = True,
    fmax_eV_per_A: float = 0.03,
    max_steps: int = 300,
    report: Report | None = None,
    batch: Batch | None = None,
) -> list[Relaxed]:
    """Move atoms (and **c**, with ``free_normal``) of every cell downhill until all forces are below the limit.

    A cell that needs more than ``max_steps`` steps is returned as far as it came. No cell given is changed.

    Raises:
        InputError: an element the potential does not know. RunFailed: an energy that is not a number.
    """
    from ase.optimize import LBFGS

    if not fmax_eV_per_A > 0 or max_steps < 1:
        raise InputError("relaxation needs a positive fmax and at least one step")
    for cell in cells:
        potential.check_elements(cell.numbers)
    batch = batch or Batch(potential)
    identity = potential.identity
    mark = {"relaxed": {"potential": identity.name, "potential_sha256": identity.sha256, "fmax_eV_per_A": fmax_eV_per_A,
                        "cell_too": "normal only" if free_normal else False}}  # fmt: skip
    frames = [cell.to_ase() for cell in cells]
    moving: list[Any] = [FreeNormal(frame) if free_normal else frame for frame in frames]
    optimisers: list[Any] = [LBFGS(each, logfile=None) for each in moving]  # type: ignore[arg-type]
    steps = [0] * len(cells)
    found: dict[int, Relaxed] = {}
    active = list(range(len(cells)))
    while active:
        batch.evaluate([frames[k] for k in active], stress=free_normal)
        for k in active:
            energy = float(frames[k].get_potential_energy())
            fmax = float(np.linalg.norm(moving[k].get_forces(), axis=1).max())
            if report is not None:
                report(k, steps[k], energy, fmax, lambda k=k: _cell(cells[k], frames[k]))  # type: ignore[misc]
            if fmax <= fmax_eV_per_A or steps[k] >= max_steps:
                now = _cell(cells[k], frames[k])
                now = replace(now, provenance={**now.provenance, **mark})
                found[k] = Relaxed(now, energy, fmax, steps[k], fmax <= fmax_eV_per_A)
                continue
            optimisers[k].step()
            steps[k] += 1
        active = [k for k in active if k not in found]
    return [found[k] for k in range(len(cells))]


def teller(say: Say, every: int = 20) -> Report:
    """A report of one relaxation, a line every so many steps."""

    def report(index: int, steps: int, energy_eV: float, fmax: float, now: Callable[[], Cell]) -> None:
        if steps % every == 0:
            say(f"step {steps}: {energy_eV:.3f} eV, largest force {fmax:.3f} eV/Å")

    return report


def _cell(start: Cell, atoms: Any) -> Cell:
    return Cell(start.numbers, atoms.positions, atoms.cell.array, start.regions, start.sites, start.provenance)
