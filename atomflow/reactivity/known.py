"""Reactions whose enthalpy was measured: how far is the potential off?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PhaseDiagram

#: Standard enthalpies of formation at 298.15 K in kJ/mol, crystals. All from the table of standard thermodynamic
#: properties of the CRC Handbook of Chemistry and Physics, as carried by the ``chemicals`` package 1.5.2, except
#: Na2ZrO3: solution calorimetry of the U.S. Bureau of Mines (−1686.3 ± 2.0, NIOSHTIC-2 10004398). Elements are zero.
ENTHALPIES_KJ_PER_MOL = {
    "Na2O": -414.2, "Na2O2": -510.9, "ZnO": -350.5, "ZrO2": -1100.6, "SiO2": -910.7, "B2O3": -1273.5,
    "Na2SiO3": -1554.9, "NaBO2": -977.0, "Na2B4O7": -3291.1, "ZrSiO4": -2033.4, "Zn2SiO4": -1636.7,
    "Na2ZrO3": -1686.3, "Na": 0.0, "Zn": 0.0, "Zr": 0.0, "Si": 0.0, "B": 0.0,
}  # fmt: skip
#: (reactants, products): sodium taking oxygen from each cation, and oxides forming double oxides.
REACTIONS = (
    (("Na", "ZnO"), ("Na2O", "Zn")),
    (("Na", "ZrO2"), ("Na2O", "Zr")),
    (("Na", "ZrO2"), ("Na2ZrO3", "Zr")),
    (("Na", "B2O3"), ("Na2O", "B")),
    (("Na", "B2O3"), ("NaBO2", "B")),
    (("Na", "SiO2"), ("Na2O", "Si")),
    (("Na", "SiO2"), ("Na2SiO3", "Si")),
    (("Zr", "ZnO"), ("ZrO2", "Zn")),
    (("Na2O", "SiO2"), ("Na2SiO3",)),
    (("Na2O", "ZrO2"), ("Na2ZrO3",)),
    (("Na2O", "B2O3"), ("NaBO2",)),
    (("NaBO2", "B2O3"), ("Na2B4O7",)),
    (("ZrO2", "SiO2"), ("ZrSiO4",)),
    (("ZnO", "SiO2"), ("Zn2SiO4",)),
)


@dataclass(frozen=True)
class KnownReaction:
    """A balanced reaction: measured enthalpy and computed energy, per mol as written and per atom taking part."""

    reaction: str
    measured_kJ_per_mol: float
    computed_kJ_per_mol: float
    measured_eV_per_atom: float
    computed_eV_per_atom: float

    @property
    def error_eV_per_atom(self) -> float:
        return self.computed_eV_per_atom - self.measured_eV_per_atom

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "error_eV_per_atom": self.error_eV_per_atom}


def known_reactions(diagram: PhaseDiagram) -> list[KnownReaction]:
    """Every reaction of :data:`REACTIONS` of which all compounds have a crystal in the diagram."""
    from pymatgen.analysis.reaction_calculator import Reaction
    from pymatgen.core import Composition

    energies = _lowest(diagram)
    found = []
    for before, after in REACTIONS:
        if not {*before, *after} <= set(energies):
            continue
        reaction = Reaction([Composition(f) for f in before], [Composition(f) for f in after])
        reaction.normalize_to(Composition(before[1]), 1.0)

        def total(values: dict[str, float], reaction: Reaction = reaction) -> float:
            return float(sum(reaction.get_coeff(c) * values[c.reduced_formula] for c in reaction.all_comp))

        atoms = sum(-reaction.get_coeff(c) * c.num_atoms for c in reaction.reactants)
        measured, computed = total(ENTHALPIES_KJ_PER_MOL), total(energies) * EV_IN_KJ_PER_MOL
        unit = EV_IN_KJ_PER_MOL * atoms
        found.append(KnownReaction(str(reaction), measured, computed, measured / unit, computed / unit))
    return found


def measured_diagram() -> PhaseDiagram:
    """The hull of the measured enthalpies themselves, oxygen as the gas: no potential in it."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    return PhaseDiagram([PDEntry(Composition(formula), enthalpy / EV_IN_KJ_PER_MOL)
                         for formula, enthalpy in {**ENTHALPIES_KJ_PER_MOL, "O2": 0.0}.items()])


def has_crystal(diagram: PhaseDiagram, formula: str) -> bool:
    """Whether any entry of the diagram has this formula."""
    return any(entry.composition.reduced_formula == formula for entry in diagram.all_entries)


def error_eV_per_atom(reactions: list[KnownReaction]) -> float | None:
    """Root mean square error per atom; None where fewer than three reactions can be compared."""
    if len(reactions) < 3:
        return None
    return float(np.sqrt(np.mean([reaction.error_eV_per_atom**2 for reaction in reactions])))


def _lowest(diagram: PhaseDiagram) -> dict[str, float]:
    """Lowest energy of each formula that has a measured enthalpy, eV per formula as :data:`ENTHALPIES_KJ_PER_MOL`
    writes it."""
    from pymatgen.core import Composition

    found: dict[str, float] = {}
    for formula in ENTHALPIES_KJ_PER_MOL:
        energies = [entry.energy_per_atom for entry in diagram.all_entries
                    if entry.composition.reduced_formula == formula]
        if energies:
            found[formula] = min(energies) * Composition(formula).num_atoms
    return found
