"""A whole study: relax what competes, build the hull, ask it; once per potential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomflow.cell import Cell
from atomflow.errors import InputError, said
from atomflow.plain import Shown
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.reactivity.hull import entries, phase_diagram
from atomflow.reactivity.interface import Contact, contact
from atomflow.reactivity.known import KnownReaction, error_eV_per_atom, known_reactions
from atomflow.reactivity.reductions import Reduction, reductions
from atomflow.reactivity.relaxing import RelaxedCrystal, RelaxSettings, relax_cell, relax_crystals
from atomflow.reactivity.system import MATERIALS, PAIRS, check_pairs, competing, elements_of, formula_of
from atomflow.reactivity.window import Window, window

Say = Callable[[str], None]
#: Name under which a given glass is kept.
GLASS = "glass"
LIMITS = (
    "energies of perfect crystals at 0 K: no entropy, no interface or strain energy, no kinetics: what gains energy "
    "may still never happen",
    "only the crystals of structures/ compete: a phase that is not there cannot form, so the true gain may be larger",
    "a potential has atoms and no electrons: who is reduced is read from the formulas of the products",
)


@dataclass(frozen=True)
class PotentialStudy:
    """What one potential says.

    Attributes:
        potential: its identity. contacts, windows, reductions, known: the answers.
        error_eV_per_atom: root mean square over ``known``; None where fewer than three can be compared.
        crystals: all, relaxed.
    """

    potential: dict[str, Any]
    contacts: tuple[Contact, ...]
    windows: tuple[Window, ...]
    reductions: tuple[Reduction, ...]
    known: tuple[KnownReaction, ...]
    error_eV_per_atom: float | None
    crystals: tuple[RelaxedCrystal, ...]
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.potential["name"])

    @property
    def failed(self) -> tuple[RelaxedCrystal, ...]:
        return tuple(crystal for crystal in self.crystals if not crystal.usable)

    @property
    def changed(self) -> tuple[RelaxedCrystal, ...]:
        return tuple(crystal for crystal in self.crystals if crystal.usable and crystal.changes)

    def to_json(self) -> dict[str, Any]:
        crystals = [{name: value for name, value in crystal.to_json().items() if name not in ("cell", "potential")}
                    for crystal in self.crystals]
        return {**self.__dict__, "crystals": crystals, "failed": [c.crystal for c in self.failed],
                "changed": [c.crystal for c in self.changed]}


@dataclass(frozen=True, repr=False)
class ReactivityResult(Shown):
    """Several potentials on the same questions."""

    pairs: tuple[tuple[str, str], ...]
    elements: tuple[str, ...]
    studies: tuple[PotentialStudy, ...]
    limits: tuple[str, ...] = field(default=LIMITS)

    def text(self) -> str:
        """The strongest reaction of every pair with every potential; ``atomflow reactivity`` prints all of them."""
        lines = [f"{len(self.studies[0].crystals)} crystals of {', '.join(self.elements)} at 0 K"]
        for study in self.studies:
            error = study.error_eV_per_atom
            sure = "unknown error" if error is None else f"± {error:.3f}"
            lines += [f"{study.name}: {' + '.join(contact.names)} gains {-contact.strongest.energy_eV_per_atom:.3f} "
                      f"{sure} eV/atom, forms {', '.join(contact.strongest.products)}" for contact in study.contacts]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "reactivity", **self.__dict__}


def study(
    potentials: Sequence[Potential],
    folder: str | Path,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    settings: RelaxSettings | None = None,
    say: Say | None = None,
    glass: Cell | None = None,
) -> ReactivityResult:
    """Reaction energies of pairs of materials, their windows against sodium, and which cations sodium reduces.

    Args:
        folder: relaxed crystals are kept in ``folder/relaxed``, one file each; a study that was stopped goes on.
        pairs: names of :data:`~atomflow.reactivity.system.MATERIALS` or formulas.
        glass: a quenched ZBO glass, sodium-free, whose energy takes the place of the mixture of crystals.

    Raises:
        InputError: nothing to do, an unknown material or element, or a reference that did not relax.
        RunStopped: a signal came; the same call goes on.
    """
    if not isinstance(potentials, (list, tuple)):
        raise InputError(f"potentials is a list of loaded potentials, like [potential], not {said(potentials)}")
    for potential in potentials:
        check_potential_given(potential)
    if not potentials or not pairs:
        raise InputError("a study needs at least one potential and one pair of materials")
    names = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    check_pairs(pairs)
    if glass is not None:
        _check_glass(glass, names)
    elements = elements_of([formula_of(name) for name in names])
    chosen = competing(elements)
    studies = []
    for potential in potentials:
        if say is not None:
            say(f"{potential.identity.name}: {len(chosen)} crystals of {', '.join(elements)}")
        kept = Path(folder) / "relaxed"
        relaxed = [*relax_crystals(chosen, potential, kept, settings, say).values()]
        if glass is not None:
            relaxed.append(relax_cell(glass, GLASS, potential, kept, settings, say))
        studies.append(assess(tuple(relaxed), tuple(pairs), potential.identity.model_dump(mode="json")))
    return ReactivityResult(tuple((one, other) for one, other in pairs), elements, tuple(studies))


def _check_glass(glass: Cell, names: tuple[str, ...]) -> None:
    from pymatgen.core import Composition

    if "ZBO" not in names:
        raise InputError("a glass was given, but no pair has ZBO in it")
    if Composition(glass.formula).reduced_formula != Composition(MATERIALS["ZBO"]).reduced_formula:
        raise InputError(f"the glass is {glass.formula}, not (ZnO)2(B2O3)3: with sodium in it it is another material")


def assess(crystals: tuple[RelaxedCrystal, ...], pairs: tuple[tuple[str, str], ...],
           potential: dict[str, Any]) -> PotentialStudy:
    """All answers from crystals that one potential relaxed."""
    found = entries(crystals)
    diagram = phase_diagram(found)
    known = known_reactions(diagram)
    error = error_eV_per_atom(known)
    contacts = tuple(contact(diagram, one, other) for one, other in pairs)
    materials = dict.fromkeys(name for pair in pairs for name in pair if formula_of(name) != "Na")
    windows = tuple(window(found, diagram, name, error) for name in materials)
    result = PotentialStudy(potential, contacts, windows, tuple(reductions(diagram, error)), tuple(known), error,
                            crystals, ())
    return PotentialStudy(**{**result.__dict__, "warnings": tuple(_warnings(result))})


def _warnings(result: PotentialStudy) -> list[str]:
    notes = [f"{crystal.crystal} is left out: {crystal.problem}" for crystal in result.failed]
    notes += [f"{crystal.crystal} changed while relaxing: {', '.join(crystal.changes)}" for crystal in result.changed]
    if result.potential.get("unvalidated"):
        notes.append(f"{result.name} was not validated for {', '.join(result.potential['unvalidated'])}")
    for item in result.windows:
        if item.energy == GLASS and item.above_hull_eV_per_atom < 1e-9:
            notes.append("the glass lies below the crystals: with this potential it cannot be a glass of this formula")
        if item.above_hull_eV_per_atom > 1e-3:
            notes.append(f"{item.name} lies {1000 * item.above_hull_eV_per_atom:.0f} meV/atom above the hull "
                         f"({item.decomposition}): its window is that of {item.name} held at the hull")
    return notes
