"""The convex hull of relaxed crystals, through pymatgen's phase diagram.

No oxygen molecule is computed: a universal potential for crystals does not know one. The level of oxygen is set so that
Na₂O has its measured enthalpy of formation. It enters only where oxygen is given off (the oxidation limit): no reaction
between oxides and metals, phosphides, silicides or borides does so, and their energies do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from atomflow.errors import InputError
from atomflow.reactivity.known import ENTHALPIES_KJ_PER_MOL
from atomflow.reactivity.relaxing import RelaxedCrystal
from atomflow.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

#: Formal charge of the cations; oxygen takes two electrons.
CHARGE = {"Na": 1, "Zr": 4, "Si": 4, "P": 5, "B": 3, "Zn": 2}
OXYGEN = "oxygen at the level of Na2O"


def entries(crystals: Iterable[RelaxedCrystal]) -> list[PDEntry]:
    """One entry per usable crystal, its name in ``attribute``, and oxygen.

    Raises:
        InputError: Na or Na2O, from which the level of oxygen is taken, is missing.
    """
    from pymatgen.analysis.phase_diagram import PDEntry
    from pymatgen.core import Composition

    found = []
    for crystal in crystals:
        if crystal.usable and crystal.energy_eV is not None:
            found.append(PDEntry(Composition(crystal.formula), crystal.energy_eV, attribute=crystal.crystal))
    best = {formula: min((e.energy_per_atom for e in found if e.composition.reduced_formula == formula), default=None)
            for formula in ("Na", "Na2O")}
    if best["Na"] is None or best["Na2O"] is None:
        raise InputError("sodium and Na2O must both be relaxed: the level of oxygen is taken from them")
    level = 3.0 * best["Na2O"] - 2.0 * best["Na"] - ENTHALPIES_KJ_PER_MOL["Na2O"] / EV_IN_KJ_PER_MOL
    return [*found, PDEntry(Composition("O2"), 2.0 * level, attribute=OXYGEN)]


def phase_diagram(found: list[PDEntry]) -> PhaseDiagram:
    """The hull.

    Raises:
        InputError: an element without a crystal of its own.
    """
    from pymatgen.analysis.phase_diagram import PhaseDiagram

    elements = {element for entry in found for element in entry.composition.elements}
    alone = {entry.composition.elements[0] for entry in found if len(entry.composition.elements) == 1}
    if elements - alone:
        names = ", ".join(sorted(element.symbol for element in elements - alone))
        raise InputError(f"no crystal of the element {names} was relaxed: there is no reference to count energies from")
    return PhaseDiagram(found)


def energy_eV(diagram: PhaseDiagram, composition: Composition) -> tuple[float, str]:
    """Energy of a composition as it stands in the formula, and what it is the energy of.

    That of the crystal of lowest energy where there is one; of the mixture of crystals on the hull where there is none.
    """
    same = [entry for entry in diagram.all_entries
            if entry.composition.fractional_composition.almost_equals(composition.fractional_composition)]
    if same:
        best: Any = min(same, key=lambda entry: entry.energy_per_atom)
        return best.energy_per_atom * composition.num_atoms, str(best.attribute)
    parts = " + ".join(f"{share:.2f} {entry.composition.reduced_formula}" for entry, share in
                       sorted(diagram.get_decomposition(composition).items(), key=lambda item: -item[1]))
    return float(diagram.get_hull_energy(composition)), f"mixture of crystals (atoms: {parts})"


def reduced_elements(composition: Composition) -> list[str]:
    """Cations of a product that have more electrons than in their oxides: all of them without oxygen, or, where oxygen
    does not take up all formal charges (Zr3O), those other than sodium."""
    amounts = {element.symbol: float(amount) for element, amount in composition.items()}
    surplus = sum(CHARGE[symbol] * amount for symbol, amount in amounts.items() if symbol != "O")
    if surplus <= 2.0 * amounts.get("O", 0.0) + 1e-6:
        return []
    return sorted(symbol for symbol in amounts if symbol not in ("O", "Na"))
