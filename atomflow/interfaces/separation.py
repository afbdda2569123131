"""Work of adhesion: what it costs to pull the parts of an interface apart.

    W = (E_apart - E_together) / (n A)

n interfaces of area A are opened at once, each by so much that the parts no longer feel each other. *Rigid*: the parts
stay as they are in the interface. *Relaxed*: the parts relax, each alone, the in-plane lattice held (e.g. Finnis,
J. Phys.: Condens. Matter 8 (1996) 5811). A metal that was strained to fit is strained in both states: its elastic
energy is in neither number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atomflow.build.sealed import boundary_facts, holding
from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError
from atomflow.interfaces.relaxing import Batch, Relaxed, Say, energies_eV, relax_many, teller
from atomflow.plain import Shown, named
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_PER_A2_IN_J_PER_M2

#: Parts further apart than this have a vacuum between them, no interface, Å.
VACUUM_A = 6.0


@dataclass(frozen=True, eq=False)
class Part:
    """One part: its name, its atoms (N,), and its place along the normal, unwrapped, in fractions of the period."""

    name: str
    atoms: np.ndarray
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Adhesion(Shown):
    """Work of adhesion, mean over the interfaces of the cell.

    Attributes:
        parts: name → number of atoms. n_interfaces, area_A2: what was opened.
        rigid_J_per_m2, relaxed_J_per_m2: W; the latter None when not asked for. ..._eV_per_A2: the same.
        opening_A: by how much each interface was opened.
        reference: what the parts apart are. strain: of the metal.
        converged: whether every relaxation was. cell: together, relaxed.
    """

    parts: dict[str, int]
    n_interfaces: int
    area_A2: float
    rigid_eV_per_A2: float
    relaxed_eV_per_A2: float | None
    opening_A: float
    reference: str
    strain: float
    converged: bool
    potential: dict[str, Any]
    warnings: tuple[str, ...]
    cell: Cell

    @property
    def rigid_J_per_m2(self) -> float:
        return self.rigid_eV_per_A2 * EV_PER_A2_IN_J_PER_M2

    @property
    def relaxed_J_per_m2(self) -> float | None:
        return None if self.relaxed_eV_per_A2 is None else self.relaxed_eV_per_A2 * EV_PER_A2_IN_J_PER_M2

    def text(self) -> str:
        """For people, as ``atomflow interface adhesion`` prints it."""
        parts = ", ".join(f"{name} {count} atoms" for name, count in self.parts.items())
        rigid = f"rigid parts {self.rigid_J_per_m2:.4f} J/m² = {self.rigid_eV_per_A2:.6f} eV/Å²"
        relaxed = ("relaxed parts not asked for" if self.relaxed_eV_per_A2 is None else
                   f"relaxed parts {self.relaxed_J_per_m2:.4f} J/m² = {self.relaxed_eV_per_A2:.6f} eV/Å²")
        lines = [f"work of adhesion: {relaxed}; {rigid}",
                 f"mean of {self.n_interfaces} interface(s) of {self.area_A2:.2f} Å² ({parts}); no interval: one cell",
                 f"reference: {self.reference}; opened by {self.opening_A:g} Å",
                 f"potential: {named(self.potential)}"]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        flat = {name: value for name, value in self.__dict__.items() if name != "cell"}
        return {**flat, "rigid_J_per_m2": self.rigid_J_per_m2, "relaxed_J_per_m2": self.relaxed_J_per_m2,
                "cell": self.cell.summary()}  # fmt: skip


def adhesion(
    cell: Cell,
    potential: Potential,
    relax_parts: bool = True,
    relax_first: bool = True,
    fmax_eV_per_A: float = 0.03,
    max_steps: int = 300,
    say: Say | None = None,
) -> Adhesion:
    """Work of adhesion of a contact (metal | solid), a sealed boundary (grain | film) or a bare one (grain | grain).

    Args:
        cell: from ``atomflow build contact``, ``sealed`` or ``boundary``, as built, relaxed, or out of a run.
        relax_parts: relax the parts alone as well. relax_first: relax the whole first, with the normal free where
            there is no vacuum.

    Raises:
        InputError: no two parts, or an element that the potential does not know.
    """
    say = say or (lambda text: None)
    check_cell_given(cell)
    check_potential_given(potential)
    potential.check_elements(cell.numbers)
    batch = Batch(potential)
    found = parts_of(cell)
    _, opened = apart(cell, found, 1.0)
    together = Relaxed(cell, float("nan"), 0.0, 0, True)
    if relax_first:
        say("relaxing the parts together")
        free = opened == len(found)  # an interface on every side: no vacuum
        together = relax_many([cell], potential, free, fmax_eV_per_A, max_steps, teller(say), batch)[0]
        found = parts_of(together.cell)
    opening = max(10.0, potential.identity.cutoff_A + 2.0)
    separate, opened = apart(together.cell, found, opening)
    energies = energies_eV([together.cell, separate], potential, batch)
    area = float(np.linalg.norm(np.cross(cell.lattice_A[0], cell.lattice_A[1])))
    rigid = (energies[1] - energies[0]) / (opened * area)
    alone = None
    if relax_parts:
        say("relaxing the parts alone")
        alone = relax_many([separate], potential, False, fmax_eV_per_A, max_steps, teller(say), batch)[0]
    converged = together.converged and (alone is None or alone.converged)
    contact = holding("metal_atoms", cell.provenance) or {}
    strain = float(contact.get("strain", 0.0))
    warnings = [] if converged else ["not every relaxation converged; raise --max-steps"]
    if (caution := potential.identity.caution(cell.numbers)) is not None:
        warnings.append(caution)
    reference = "the parts alone, their in-plane lattice as in the interface"
    if strain:
        reference += f"; the metal is strained by {100 * strain:.1f} % in both states"
    return Adhesion(
        {part.name: int(part.atoms.sum()) for part in found}, opened, area, float(rigid),
        None if alone is None else float((alone.energy_eV - energies[0]) / (opened * area)), opening, reference, strain,
        converged, potential.identity.model_dump(mode="json"), tuple(warnings), together.cell,
    )  # fmt: skip


def parts_of(cell: Cell) -> list[Part]:
    """The parts of an interface from bottom to top; an atom belongs to the part that it was built in."""
    regions = set(cell.regions.tolist())
    n = np.arange(len(cell))
    if "metal" in regions:
        metal = cell.regions == "metal"
        named = [("solid", ~metal), ("metal", metal)]
    elif "glass" in regions and (facts := holding("films", cell.provenance)) is not None:
        grains = sum(facts["composition"]["grains"].values())
        n_a, films = facts["boundary"]["atoms_of_grain_a"], len(facts["films"])
        each = (len(cell) - grains) // films
        named = [("grain a", n < n_a), ("grain b", (n >= n_a) & (n < grains))]
        named += [(f"film {k + 1}", (n >= grains + k * each) & (n < grains + (k + 1) * each)) for k in range(films)]
    else:
        try:
            n_a = boundary_facts(cell)["atoms_of_grain_a"]
        except InputError:
            raise InputError("adhesion is of two parts, and this cell names none: build contact, sealed or boundary "
                             "makes one, and extxyz keeps what tells the parts apart") from None
        named = [("grain a", n < n_a), ("grain b", n >= n_a)]
    if any(not mask.any() for _, mask in named):
        raise InputError("the cell has one part only; adhesion needs a metal, a film or a second grain")
    found = []
    for name, mask in named:
        places = _unwrapped(cell.fractional[mask, 2])
        found.append(Part(name, mask, float(places.min()), float(places.max())))
    return sorted(found, key=lambda part: (part.low + part.high) / 2 % 1.0)


def apart(cell: Cell, parts: list[Part], opening_A: float) -> tuple[Cell, int]:
    """The cell with every interface opened along the normal, and how many there are; a vacuum stays as it is."""
    normal = np.cross(cell.lattice_A[0], cell.lattice_A[1])
    normal /= np.linalg.norm(normal)
    height = float(cell.lattice_A[2] @ normal)
    fractional = cell.fractional.copy()
    lifts, opened = np.zeros(len(cell)), 0
    for k, part in enumerate(parts):
        middle = (part.low + part.high) / 2
        fractional[part.atoms, 2] = _unwrapped(fractional[part.atoms, 2]) + (middle % 1.0 - middle)
        lifts[part.atoms] = opened * opening_A
        after = parts[(k + 1) % len(parts)]
        start, stop = part.high + middle % 1.0 - middle, after.low + _middle(after) % 1.0 - _middle(after)
        distance = (stop - start + (1.0 if k + 1 == len(parts) else 0.0)) * height
        opened += distance < VACUUM_A
    if opened == 0:
        raise InputError(f"no two parts are nearer than {VACUUM_A:g} Å: there is no interface to open")
    lattice = cell.lattice_A.copy()
    lattice[2] += opened * opening_A * normal
    positions = fractional @ cell.lattice_A + lifts[:, None] * normal
    return replace(cell, positions_A=positions, lattice_A=lattice), opened


def _middle(part: Part) -> float:
    return (part.low + part.high) / 2


def _unwrapped(places: np.ndarray) -> np.ndarray:
    """Fractions on a circle as one contiguous stretch around their circular mean."""
    mean = np.angle(np.exp(2j * np.pi * places).mean()) / (2 * np.pi)
    return np.asarray(mean + (places - mean + 0.5) % 1.0 - 0.5)
