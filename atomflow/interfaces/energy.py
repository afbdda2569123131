"""Boundary and surface energies: what a cell costs more than the perfect crystals that its grains are pieces of.

    γ = (E - Σ E_crystal) / (n A)

with E the energy of the relaxed cell, E_crystal that of each grain's crystal with the same number of atoms, A the area
of the plane cell and n how many boundaries (2, periodic) or surfaces (2, a slab) the cell holds (e.g. Sutton and
Balluffi, Interfaces in Crystalline Materials, 1995, ch. 5). The crystals have the in-plane lattice of the cell, strain
included, and their third vector is relaxed, as that of a boundary is: no elastic energy of the plane goes into γ. The
excess volume per area is (V - Σ V_crystal) / (n A).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atomflow.build.boundary import build_boundary
from atomflow.build.sealed import boundary_facts
from atomflow.build.surface import build_slab
from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError
from atomflow.interfaces.relaxing import Batch, Relaxed, Say, relax_many, teller
from atomflow.interfaces.sides import crystals_of, thickened
from atomflow.plain import Shown, named
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_PER_A2_IN_J_PER_M2


@dataclass(frozen=True, eq=False, repr=False)
class InterfaceEnergy(Shown):
    """An energy per area.

    Attributes:
        what: ``boundary`` or ``surface``. n: how many of them the cell holds; the energy is their mean.
        energy_J_per_m2, energy_eV_per_A2: γ.
        excess_volume_A: volume per area beyond the crystals'; None for surfaces.
        area_A2: of the plane cell. n_atoms: of the cell. thickness_A: of each grain, crystal between the faces.
        excess: atoms beyond whole formula units, and how they were paid for.
        reference: what E_crystal is.
        converged: whether every relaxation was.
        thicker_J_per_m2: γ with grains twice as thick; None when not asked for.
        cell: relaxed.
    """

    what: str
    n: int
    energy_J_per_m2: float
    energy_eV_per_A2: float
    excess_volume_A: float | None
    area_A2: float
    n_atoms: int
    thickness_A: tuple[float, ...]
    excess: str
    reference: str
    converged: bool
    potential: dict[str, Any]
    warnings: tuple[str, ...]
    cell: Cell
    thicker_J_per_m2: float | None = None

    @property
    def thickness_error_J_per_m2(self) -> float | None:
        """How much γ changes when the grains are twice as thick."""
        return None if self.thicker_J_per_m2 is None else abs(self.thicker_J_per_m2 - self.energy_J_per_m2)

    def text(self) -> str:
        """For people, as ``atomflow interface energy`` prints it."""
        twice = "no interval: 0 K, one cell; the grains were not doubled"
        if self.thicker_J_per_m2 is not None:
            twice = (f"grains twice as thick: {self.thicker_J_per_m2:.4f} (differs by "
                     f"{self.thickness_error_J_per_m2:.4f})")  # fmt: skip
        excess = "" if self.excess_volume_A is None else f", excess volume {self.excess_volume_A:.3f} Å per area"
        lines = [f"{self.what} energy {self.energy_J_per_m2:.4f} J/m² = {self.energy_eV_per_A2:.6f} eV/Å²; {twice}",
                 f"mean of {self.n}, {self.area_A2:.2f} Å² each, in {self.cell.formula} ({self.n_atoms} atoms){excess}",
                 f"reference: {self.reference}", f"stoichiometry excess: {self.excess}",
                 f"potential: {named(self.potential)}"]  # fmt: skip
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        flat = {name: value for name, value in self.__dict__.items() if name != "cell"}
        return {**flat, "thickness_error_J_per_m2": self.thickness_error_J_per_m2, "cell": self.cell.summary()}


def boundary_energy(
    cell: Cell,
    potential: Potential,
    crystal: Cell | None = None,
    fmax_eV_per_A: float = 0.03,
    max_steps: int = 300,
    chemical_potentials_eV: Mapping[str, float] | None = None,
    say: Say | None = None,
    built: Cell | None = None,
) -> InterfaceEnergy:
    """Energy of the two boundaries of a periodic cell, relaxed with the plane held and the normal free.

    Args:
        cell: a boundary of ``atomflow build boundary`` or of a search, or any cell with the normal along z and two
            boundaries of one crystal (then ``crystal`` is needed, and the lattice of both is held).
        crystal: the cell that the grains were cut from, when it was not the ordered NZSP of atomflow.
        chemical_potentials_eV: of elements, for a cell that does not hold whole formula units.
        built: the boundary before it was relaxed; built anew from its provenance when not given.

    Raises:
        InputError: a vacuum, a film, atoms beyond whole formula units without a chemical potential, no reference.
    """
    check_cell_given(cell)
    check_potential_given(potential)
    say = say or (lambda text: None)
    batch = Batch(potential)
    try:
        facts: dict[str, Any] | None = boundary_facts(cell)
    except InputError:
        if crystal is None or "glass" in set(cell.regions):
            raise
        facts = None
    if facts is not None and len(facts["boundaries"]) != 2:
        raise InputError("with a vacuum two surfaces count too; build the boundary without --vacuum for its energy")
    if facts is None:
        assert crystal is not None
        references, excess, cost, text = _foreign(cell, crystal, potential, chemical_potentials_eV or {}, batch)
        thickness: tuple[float, ...] = ()
    else:
        built = _as_built(facts, crystal, cell if built is None or "relaxed" in built.provenance else built)
        say("relaxing the crystals of the grains")
        references = relax_many(crystals_of(built), potential, True, fmax_eV_per_A, max_steps, None, batch)
        excess, cost = "none: whole formula units", 0.0
        text = "each grain's own crystal, in-plane lattice and strain as in the boundary, third vector relaxed"
        thickness = tuple(facts["grain_thickness_A"])
    say("relaxing the boundary")
    relaxed = relax_many([cell], potential, facts is not None, fmax_eV_per_A, max_steps, teller(say), batch)[0]
    strain = 0.0 if facts is None else facts.get("strain", 0.0)
    warnings = [f"grain b is strained by {100 * strain:.1f} %, and so is its reference"] if strain > 1e-4 else []
    return _result("boundary", relaxed, references, cost, excess, text, thickness, potential, warnings)


def surface_energy(
    cell: Cell,
    potential: Potential,
    crystal: Cell | None = None,
    fmax_eV_per_A: float = 0.03,
    max_steps: int = 300,
    say: Say | None = None,
) -> InterfaceEnergy:
    """Energy of the two surfaces of a slab of ``atomflow build slab``, atoms relaxed in the cell as it is."""
    check_cell_given(cell)
    check_potential_given(potential)
    say = say or (lambda text: None)
    batch = Batch(potential)
    facts, built = cell.provenance, cell
    if not is_slab(cell):
        raise InputError("this is no slab of atomflow build slab")
    if "relaxed" in cell.provenance:
        given = None if isinstance(facts.get("crystal"), str) else _needed(crystal)
        built = build_slab(**facts["parameters"], crystal=given)
        _same(built, cell)
    say("relaxing the crystal of the slab")
    references = relax_many(crystals_of(built), potential, True, fmax_eV_per_A, max_steps, None, batch)
    say("relaxing the slab")
    relaxed = relax_many([cell], potential, False, fmax_eV_per_A, max_steps, teller(say), batch)[0]
    text = "the slab's own crystal, in-plane lattice as in the slab, third vector relaxed"
    found = _result("surface", relaxed, references, 0.0, "none: whole formula units", text,
                    tuple(facts["grain_thickness_A"]), potential, [])  # fmt: skip
    return replace(found, excess_volume_A=None)


def with_thicker(
    found: InterfaceEnergy, built: Cell, potential: Potential, fmax_eV_per_A: float = 0.03, max_steps: int = 400,
    say: Say | None = None,
) -> InterfaceEnergy:
    """The same with γ of grains twice as thick: how far the two faces of a grain feel each other.

    Args:
        built: the cell before it was relaxed.
    """  # fmt: skip
    say = say or (lambda text: None)
    say("relaxing with grains twice as thick")
    thick, batch = thickened(built), Batch(potential)
    references = relax_many(crystals_of(thick), potential, True, fmax_eV_per_A, max_steps, None, batch)
    free = found.what == "boundary"
    relaxed = relax_many([thick], potential, free, fmax_eV_per_A, max_steps, teller(say), batch)[0]
    again = _result(found.what, relaxed, references, 0.0, found.excess, found.reference, (), potential, [])
    return replace(found, thicker_J_per_m2=again.energy_J_per_m2, converged=found.converged and again.converged)


def _result(
    what: str, relaxed: Relaxed, references: list[Relaxed], cost_eV: float, excess: str, reference: str,
    thickness_A: tuple[float, ...], potential: Potential, warnings: list[str],
) -> InterfaceEnergy:  # fmt: skip
    area = float(np.linalg.norm(np.cross(relaxed.cell.lattice_A[0], relaxed.cell.lattice_A[1])))
    energy = (relaxed.energy_eV - sum(each.energy_eV for each in references) - cost_eV) / (2 * area)
    volume = (relaxed.cell.volume_A3 - sum(each.cell.volume_A3 for each in references)) / (2 * area)
    converged = relaxed.converged and all(each.converged for each in references)
    if not converged:
        warnings = [*warnings, f"not converged: the largest force is still {relaxed.fmax_eV_per_A:.3f} eV/Å"]
    caution = potential.identity.caution(relaxed.cell.numbers)
    if caution:
        warnings = [*warnings, caution]
    return InterfaceEnergy(what, 2, energy * EV_PER_A2_IN_J_PER_M2, energy, volume, area, len(relaxed.cell),
                           thickness_A, excess, reference, converged, potential.identity.model_dump(mode="json"),
                           tuple(warnings), relaxed.cell)  # fmt: skip


def _as_built(facts: dict[str, Any], crystal: Cell | None, cell: Cell) -> Cell:
    """The boundary as it was before it was relaxed: its grains are pieces of the perfect crystal."""
    if "relaxed" not in cell.provenance and cell.provenance.get("builder") == "boundary":
        return cell
    given = None if isinstance(facts.get("crystal"), str) else _needed(crystal)
    built = build_boundary(**facts["parameters"], crystal=given)
    _same(built, cell)
    return built


def _needed(crystal: Cell | None) -> Cell:
    if crystal is None:
        raise InputError("the grains were cut from a crystal of yours: give that cell with --bulk")
    return crystal


def _same(built: Cell, cell: Cell) -> None:
    same = np.array_equal(built.numbers, cell.numbers)
    if not same or not np.allclose(built.lattice_A[:2], cell.lattice_A[:2], atol=1e-3):
        raise InputError("this cell was cut from another crystal (other plane or atoms), or its plane was relaxed; "
                         "relax with the plane held: atomflow interface search or energy")  # fmt: skip


def is_slab(cell: Cell) -> bool:
    """Whether ``atomflow build slab`` made it, relaxed since or not."""
    return cell.provenance.get("builder") == "slab"


def _foreign(
    cell: Cell, crystal: Cell, potential: Potential, chemical_potentials_eV: Mapping[str, float], batch: Batch
) -> tuple[list[Relaxed], str, float, str]:
    """References for a cell that was built elsewhere: as many units of the crystal as it holds, the rest paid for."""
    units = min(cell.composition.get(symbol, 0) / count for symbol, count in crystal.composition.items())
    per_cell = int(np.gcd.reduce(list(crystal.composition.values())))
    units = int(units * per_cell + 1e-9) / per_cell
    extra = {symbol: round(count - units * crystal.composition.get(symbol, 0))
             for symbol, count in cell.composition.items()}  # fmt: skip
    extra = {symbol: count for symbol, count in extra.items() if count}
    unknown = [symbol for symbol in extra if symbol not in chemical_potentials_eV]
    text = ", ".join(f"{count} {symbol}" for symbol, count in extra.items())
    if unknown:
        raise InputError(f"the cell holds {text} beyond whole formula units of {crystal.formula}; its energy depends "
                         f"on where they come from: give --mu {unknown[0]}=eV")  # fmt: skip
    if units <= 0:
        raise InputError(f"the cell does not hold one formula unit of {crystal.formula}")
    one = relax_many([crystal], potential, False, 0.03, 300, None, batch)[0]
    lattice = one.cell.lattice_A * units ** (1 / 3)  # of the volume that so many units have
    scaled = replace(one, energy_eV=one.energy_eV * units,
                     cell=Cell(one.cell.numbers, one.cell.positions_A, lattice))  # fmt: skip
    cost = sum(count * chemical_potentials_eV[symbol] for symbol, count in extra.items())
    paid = ", ".join(f"{symbol} at {chemical_potentials_eV[symbol]:g} eV" for symbol in extra)
    excess = f"{text}, {paid}" if extra else "none: whole formula units"
    return [scaled], excess, cost, "the crystal given, per formula unit; both lattices held, atoms relaxed"
