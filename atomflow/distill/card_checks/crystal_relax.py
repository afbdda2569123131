"""Crystals at rest with one side; shared by the sections that need them, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atomflow.cell import Cell
from atomflow.distill.card_checks.crystal import NZSP, Crystal, elements_of, primitive
from atomflow.distill.card_checks.section import Context
from atomflow.distill.sides import Side, answered, task

#: Evaluations that a crystal takes to come to rest, as a rule; for estimates of time.
EVALUATIONS = 40


@dataclass(frozen=True)
class Rest:
    """A crystal at rest: its cell, its energy (eV, of the primitive cell), the largest force left."""

    crystal: Crystal
    cell: Cell
    energy_eV: float
    largest_force_eV_per_A: float

    @property
    def energy_per_atom_eV(self) -> float:
        return self.energy_eV / len(self.cell)


def known(context: Context, names: Sequence[str]) -> list[str]:
    """The crystals that the student has all elements of."""
    return [name for name in names if context.knows(elements_of(name))]


def at_rest(context: Context, side: Side, names: Sequence[str]) -> dict[str, Rest]:
    """Atoms and lattice of each crystal relaxed with one side."""
    settings = context.settings
    crystals = [primitive(name) for name in names]
    results = side.perform(
        [
            task("relax", [crystal.cell], fmax_eV_per_A=settings.fmax_eV_per_A, steps=settings.relax_steps)
            for crystal in crystals
        ],
        context.say,
    )
    return {
        crystal.name: Rest(
            crystal,
            answered(result["cells"][0], crystal.cell),
            result["energies_eV"][0],
            result["largest_forces_eV_per_A"][0],
        )
        for crystal, result in zip(crystals, results, strict=True)
    }


def atoms_in(names: Sequence[str]) -> int:
    """Atoms in the primitive cells of these crystals."""
    return sum(len(primitive(name).cell) for name in names)


def with_nzsp(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([NZSP, *names]))
