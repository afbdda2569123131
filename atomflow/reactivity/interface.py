"""Two materials in contact: what they form in any mixing ratio, through pymatgen's ``InterfacialReactivity``.

W. D. Richards et al., Chem. Mater. 28, 266 (2016); Y. Xiao et al., Nat. Rev. Mater. 5, 105 (2020).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atomflow.reactivity.hull import energy_eV, reduced_elements
from atomflow.reactivity.system import formula_of

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PhaseDiagram
    from pymatgen.analysis.reaction_calculator import Reaction

_LEAST = 1e-4


@dataclass(frozen=True)
class Mixture:
    """A kink of the hull between two materials.

    Attributes:
        share: atomic fraction of the first material. energy_eV_per_atom: of the reaction.
        kJ_per_mol: of the reaction as written. products: formula → moles as written.
        reduced: cations that have more electrons in a product than in their oxides.
    """

    share: float
    energy_eV_per_atom: float
    kJ_per_mol: float
    reaction: str
    products: dict[str, float]
    reduced: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Contact:
    """Two materials. ``energies``: what the energy of each is that of; ``mixtures``: all kinks by share."""

    names: tuple[str, str]
    formulas: tuple[str, str]
    energies: tuple[str, str]
    mixtures: tuple[Mixture, ...]

    @property
    def strongest(self) -> Mixture:
        """The mixture that gains most per atom."""
        return min(self.mixtures, key=lambda mixture: mixture.energy_eV_per_atom)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "strongest": self.strongest}


def contact(diagram: PhaseDiagram, one: str, other: str) -> Contact:
    """All reactions of two materials (names of :data:`~atomflow.reactivity.system.MATERIALS` or formulas)."""
    from pymatgen.analysis.interface_reactions import InterfacialReactivity
    from pymatgen.core import Composition

    formulas = formula_of(one), formula_of(other)
    first, second = (Composition(formula) for formula in formulas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a composition without crystal gets its hull energy; said in `energies`
        reactivity = InterfacialReactivity(first, second, diagram, norm=True, use_hull_energy=False)
        kinks = reactivity.get_kinks()
    mixtures = tuple(Mixture(float(share), float(energy), float(kJ), str(reaction), _products(reaction),
                             _reduced(reaction)) for _, share, energy, reaction, kJ in kinks)
    return Contact((one, other), formulas, (energy_eV(diagram, first)[1], energy_eV(diagram, second)[1]),
                   tuple(sorted(mixtures, key=lambda mixture: mixture.share)))


def _products(reaction: Reaction) -> dict[str, float]:
    return {product.reduced_formula: float(reaction.get_coeff(product)) for product in reaction.products
            if abs(reaction.get_coeff(product)) > _LEAST}


def _reduced(reaction: Reaction) -> tuple[str, ...]:
    found = {symbol for product in reaction.products if abs(reaction.get_coeff(product)) > _LEAST
             for symbol in reduced_elements(product)}
    return tuple(sorted(found))
