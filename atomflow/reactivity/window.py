"""At which voltage against sodium a material takes up or gives off sodium, through pymatgen's open phase diagrams.

A material off the hull decomposes at every voltage. Its window is then that of the material held at the hull: the
energy that this lowers it by is stated (``above_hull_eV_per_atom``), and the window is the wider one,
of a material that only exchange of sodium may decompose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atomflow.reactivity.hull import energy_eV, reduced_elements
from atomflow.reactivity.system import formula_of
from atomflow.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

_SAME_NA = 1e-4
#: How far below the hull a material is put to be a vertex of it, eV per atom.
_BELOW = 1e-6


@dataclass(frozen=True)
class Step:
    """A range of voltages against Na: sodium taken up per formula, and the phases at equilibrium."""

    from_V: float | None
    to_V: float | None
    sodium: float
    phases: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Window:
    """Stability of one material.

    Attributes:
        energy: what its energy is that of. above_hull_eV_per_atom, decomposition: of the material by itself.
        reduction_V, oxidation_V: ends of the window; None beyond the first or last step of the diagram.
        reduction_error_V, oxidation_error_V: what an error of the potential per atom makes of them: that error, times
            the atoms that react, over the sodium that they exchange.
        steps: from the sodium-rich end (0 V and below) upwards.
        with_metal_kJ_per_mol: grand-potential energy gained per mol of formula in an excess of sodium metal (0 V).
        reduced: cations reduced there.
    """

    name: str
    formula: str
    energy: str
    above_hull_eV_per_atom: float
    decomposition: str
    reduction_V: float | None
    oxidation_V: float | None
    reduction_error_V: float | None
    oxidation_error_V: float | None
    steps: tuple[Step, ...]
    with_metal_kJ_per_mol: float
    with_metal: tuple[str, ...]
    reduced: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def window(entries: list[PDEntry], diagram: PhaseDiagram, name: str, error_eV_per_atom: float | None = None) -> Window:
    """The window of a material by name or formula."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition, Element

    formula = formula_of(name)
    composition = Composition(formula)
    own, source = energy_eV(diagram, composition)
    on_hull = float(diagram.get_hull_energy(composition))
    parts = diagram.get_decomposition(composition)
    lowered = PDEntry(composition, on_hull - _BELOW * composition.num_atoms, attribute=name)
    held = PhaseDiagram([*entries, lowered], elements=diagram.elements)
    sodium = Element("Na")
    steps = _steps(held, composition, sodium)
    here = next((k for k, step in enumerate(steps) if abs(step.sodium) < _SAME_NA), None)
    none = None if here is None else steps[here]
    before = steps[here - 1] if here else None
    after = steps[here + 1] if here is not None and here + 1 < len(steps) else None
    gained, phases, reduced = _with_metal(entries, diagram, composition, own, sodium)
    return Window(name, formula, source, (own - on_hull) / composition.num_atoms,
                  " + ".join(sorted(entry.composition.reduced_formula for entry in parts)),
                  none.from_V if none else None, none.to_V if none else None,
                  _error_V(before, composition.num_atoms, error_eV_per_atom),
                  _error_V(after, composition.num_atoms, error_eV_per_atom), steps, gained * EV_IN_KJ_PER_MOL, phases,
                  reduced)


def _error_V(step: Step | None, atoms: float, error_eV_per_atom: float | None) -> float | None:
    if step is None or error_eV_per_atom is None:
        return None
    return error_eV_per_atom * (atoms + max(step.sodium, 0.0)) / abs(step.sodium)


def _steps(diagram: PhaseDiagram, composition: Any, sodium: Any) -> tuple[Step, ...]:
    """From sodium-rich to sodium-poor. A kink is stable from the voltage of the facet on its sodium-rich side to that
    of the next kink."""
    metal = diagram.el_refs[sodium].energy_per_atom
    profile = diagram.get_element_profile(sodium, composition)
    volts = [float(metal - kink["chempot"]) for kink in profile]
    ends: list[float | None] = [*volts[1:], None]
    steps = []
    for kink, low, high in zip(profile, volts, ends, strict=True):
        phases = tuple(sorted({entry.composition.reduced_formula for entry in kink["entries"]}))
        steps.append(Step(low, high, float(kink["evolution"]), phases))
    return tuple(steps)


def _with_metal(entries: list[PDEntry], diagram: PhaseDiagram, composition: Any, own_eV: float,
                sodium: Any) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Grand-potential energy per formula at the chemical potential of sodium metal, the phases, and who is reduced."""
    from pymatgen.analysis.phase_diagram import GrandPotentialPhaseDiagram
    from pymatgen.core import Composition

    metal = diagram.el_refs[sodium].energy_per_atom
    rest = Composition({element: amount for element, amount in composition.items() if element != sodium})
    if rest.num_atoms == 0:
        return 0.0, ("Na",), ()
    opened = GrandPotentialPhaseDiagram(entries, {sodium: metal})
    gained = float(opened.get_hull_energy(rest)) - (own_eV - metal * composition[sodium])
    stable: list[Any] = list(opened.get_decomposition(rest))
    products = [entry.original_entry.composition for entry in stable]
    reduced = {symbol for product in products for symbol in reduced_elements(product)}
    return gained, tuple(sorted(product.reduced_formula for product in products)), tuple(sorted(reduced))
