"""Which cations sodium metal can reduce, as far as energies of crystals tell.

For each oxide two questions: does sodium take the oxygen as Na₂O and leave the element, and does any mixture of oxide
and sodium gain energy by reducing it (ternary oxides, phosphides, silicides and borides allowed)?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atomflow.reactivity.hull import energy_eV
from atomflow.reactivity.interface import Mixture, contact
from atomflow.reactivity.known import ENTHALPIES_KJ_PER_MOL, has_crystal, measured_diagram
from atomflow.reactivity.system import elements_of
from atomflow.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PhaseDiagram

#: cation → its oxide, and the publication's claim that it stays.
OXIDES = {"Zr": "ZrO2", "Zn": "ZnO", "B": "B2O3", "Si": "SiO2", "P": "P2O5"}
DENIED_BY_PUBLICATION = ("Zr", "Zn", "B")


@dataclass(frozen=True)
class Reduction:
    """One cation.

    Attributes:
        to_element_kJ_per_mol_Na: energy of oxide + Na → element + Na₂O per mol of Na, computed.
        measured_kJ_per_mol_Na: the same from measured enthalpies, None where not known.
        strongest: the reducing mixture of oxide and sodium that gains most per atom; None where none reduces.
        measured_strongest: the same from the measured enthalpies alone; None where none reduces or they are not known.
        verdict: "reduced", "not reduced" or "cannot say".
    """

    cation: str
    oxide: str
    denied_by_publication: bool
    to_element_kJ_per_mol_Na: float
    measured_kJ_per_mol_Na: float | None
    strongest: Mixture | None
    measured_strongest: Mixture | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def reductions(diagram: PhaseDiagram, error_eV_per_atom: float | None) -> list[Reduction]:
    """Every oxide of :data:`OXIDES` whose elements are in the diagram.

    Two root mean square errors of the potential decide: a mixture that gains more is "reduced"; where none gains, the
    cation is "not reduced" unless the mixture that measured enthalpies prefer costs less than that.
    """
    present = {element.symbol for element in diagram.elements}
    measured = measured_diagram()
    found = []
    for cation, oxide in OXIDES.items():
        if not has_crystal(diagram, oxide) or not {*elements_of([oxide]), cation} <= present:
            continue
        best = _strongest(diagram, cation, oxide)
        known = _strongest(measured, cation, oxide) if has_crystal(measured, oxide) else None
        found.append(Reduction(cation, oxide, cation in DENIED_BY_PUBLICATION, *_to_element(diagram, cation, oxide),
                               best, known, _verdict(best, _cost(diagram, oxide, known), error_eV_per_atom)))
    return found


def _strongest(diagram: PhaseDiagram, cation: str, oxide: str) -> Mixture | None:
    mixtures = [mixture for mixture in contact(diagram, "Na", oxide).mixtures if cation in mixture.reduced]
    return min(mixtures, key=lambda mixture: mixture.energy_eV_per_atom, default=None)


def _cost(diagram: PhaseDiagram, oxide: str, known: Mixture | None) -> float | None:
    """eV per atom, computed, of the reducing mixture that the measured enthalpies prefer; None where they have none."""
    from pymatgen.analysis.reaction_calculator import Reaction
    from pymatgen.core import Composition

    if known is None:
        return None
    reaction = Reaction([Composition("Na"), Composition(oxide)], [Composition(formula) for formula in known.products])
    energy = sum(reaction.get_coeff(c) * energy_eV(diagram, c)[0] for c in reaction.all_comp)
    return float(energy / sum(-reaction.get_coeff(c) * c.num_atoms for c in reaction.reactants))


def _verdict(best: Mixture | None, cost: float | None, error: float | None) -> str:
    if best is None:
        known_to_cost = error is not None and (cost is None or cost > 2.0 * error)
        return "not reduced" if known_to_cost else "cannot say"
    if error is None or best.energy_eV_per_atom > -2.0 * error:
        return "cannot say"
    return "reduced"


def _to_element(diagram: PhaseDiagram, cation: str, oxide: str) -> tuple[float, float | None]:
    """kJ per mol of Na: computed, measured."""
    from pymatgen.analysis.reaction_calculator import Reaction
    from pymatgen.core import Composition

    reaction = Reaction([Composition("Na"), Composition(oxide)], [Composition("Na2O"), Composition(cation)])
    reaction.normalize_to(Composition("Na"), 1.0)
    computed = sum(reaction.get_coeff(c) * energy_eV(diagram, c)[0] for c in reaction.all_comp) * EV_IN_KJ_PER_MOL
    known = [ENTHALPIES_KJ_PER_MOL.get(c.reduced_formula) for c in reaction.all_comp]
    if any(value is None for value in known):
        return float(computed), None
    return float(computed), float(sum(reaction.get_coeff(c) * value
                                      for c, value in zip(reaction.all_comp, known, strict=True) if value is not None))
