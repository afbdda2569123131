"""NZSP cells: Na₁₊ₓ₊₂ᵧZr₂₋ᵧZnᵧSiₓP₃₋ₓO₁₂, ordered, random or of low electrostatic energy, in any supercell.

``build_nzsp`` goes from a request to a checked cell: template (sites) → ordering (who sits where) → atoms → checks.
All cells of a phase share one origin and one list of named Na sites, kept in ``provenance["na_sites"]``.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Literal

import numpy as np
from pydantic import Field

from atomflow import crystals
from atomflow.build import template as templates
from atomflow.build.annealing import anneal
from atomflow.build.checks import require_sound
from atomflow.build.composition import count_atoms
from atomflow.build.electrostatics import ordering_energy
from atomflow.build.ordering import MIN_NA_NA_A, Ordering, close_pairs, random_ordering
from atomflow.build.template import T_O_LENGTH_A, Template
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError
from atomflow.version import __version__

#: Ordered rhombohedral crystals: only the end members have no disorder.
RHOMBOHEDRAL_END = {0.0: "NaZr2P3O12_R-3c_Hong1976", 3.0: "Na4Zr2Si3O12_R-3c_TranQui1981_RT"}
#: Atoms of the conventional cell at x = 2; the primitive cells have 40.
N_ATOMS = {"monoclinic": 80, "rhombohedral": 120}
#: Larger cells would not fit into memory (the annealing keeps one matrix over all decisions).
MAX_ATOMS = {"ordered": 200_000, "random": 200_000, "ewald": 10_000}
#: Si per formula unit between which the crystal is monoclinic at room temperature (Hong 1976: 1.8 to 2.2).
MONOCLINIC_SI = (1.8, 2.2)
_SYMBOLS = ("Na", "Zr", "Zn", "Si", "P", "O")
_NUMBER = {"Na": 11, "Zr": 40, "Zn": 30, "Si": 14, "P": 15, "O": 8}


class NZSPRequest(StrictModel):
    """What to build. ``si`` and ``zn`` are x and y per formula unit; the rest as in :func:`build_nzsp`."""

    order: Literal["ordered", "random", "ewald"] = "ordered"
    supercell: tuple[int, int, int] = (1, 1, 1)
    cell: Literal["experimental", "dft"] = "experimental"
    phase: Literal["monoclinic", "rhombohedral"] = "monoclinic"
    si: float = 2.0
    zn: float = 0.0
    seed: int = Field(0, ge=0)
    primitive: bool = False


def build_nzsp(
    order: str = "ordered",
    supercell: tuple[int, int, int] = (1, 1, 1),
    cell: str = "experimental",
    phase: str = "monoclinic",
    si: float = 2.0,
    zn: float = 0.0,
    seed: int = 0,
    primitive: bool = False,
) -> Cell:
    """Build one NZSP cell.

    Args:
        order: ``ordered`` (the DFT ordering of Xie et al. 2023; rhombohedral: the end members si=0 and si=3),
            ``random`` (drawn from the site occupancies of the crystal) or ``ewald`` (low electrostatic energy).
        supercell: repeats along a, b, c of the conventional cell (of the primitive cell with ``primitive``).
        cell: lattice constants of the monoclinic phase: ``experimental`` (3.243 g/cm³ at x = 2) or ``dft`` (PBE).
        phase: ``monoclinic`` (C2/c, room temperature) or ``rhombohedral`` (R-3c, hexagonal axes, 443 K).
        si: Si per formula unit, x of Na₁₊ₓZr₂SiₓP₃₋ₓO₁₂. The lattice constants stay those of x = 2.
        zn: Zn on Zr per formula unit, y; every Zn brings two more Na.
        seed: of the random draw or the annealing; the same seed gives the same cell.
        primitive: start from the primitive cell (40 atoms monoclinic) in place of the conventional one.

    Returns:
        A cell that passed :func:`atomflow.build.checks.require_sound`. Relax it before running dynamics.

    Raises:
        InputError: the request cannot be met; the message says what can.
    """
    request = parse(
        NZSPRequest,
        {"order": order, "supercell": supercell, "cell": cell, "phase": phase, "si": si, "zn": zn, "seed": seed,
         "primitive": primitive},
        "build nzsp",
    )  # fmt: skip
    if any(n < 1 for n in request.supercell):
        given = " ".join(map(str, request.supercell))
        raise InputError(f"build nzsp: supercell {given}: three whole numbers from 1 up are needed")
    n_atoms = (40 if request.primitive else N_ATOMS[request.phase]) * math.prod(request.supercell)
    if n_atoms > MAX_ATOMS[request.order]:
        raise InputError(f"build nzsp: this supercell has about {n_atoms:,} atoms; {MAX_ATOMS[request.order]:,} is the "
                         f"most for order {request.order}")  # fmt: skip
    if request.phase == "rhombohedral" and request.cell == "dft":
        raise InputError("build nzsp: the dft cell is of the monoclinic phase; the rhombohedral one is experimental")
    built = _ordered(request) if request.order == "ordered" else _on_sites(request)
    require_sound(built, "the built cell")
    return built


def _note(request: NZSPRequest) -> str | None:
    """What to tell someone who asks for a composition away from that whose cell was measured."""
    low, high = MONOCLINIC_SI
    if request.phase == "monoclinic" and not low <= request.si <= high:
        return f"si={request.si:g}: at room temperature the crystal is monoclinic between {low:g} and {high:g} Si only"
    if request.order != "ordered" and (request.si != 2.0 or request.zn):
        return f"si={request.si:g} zn={request.zn:g}: the lattice constants are those of si=2 zn=0; relax the cell too"
    return None


def _on_sites(request: NZSPRequest) -> Cell:
    """Random or low-energy ordering on the candidate sites of the phase."""
    base = templates.load_template(request.phase, request.cell)
    if request.primitive:
        base = templates.primitive(base)
    template = templates.repeat(base, request.supercell)
    counts = count_atoms(template.formula_units, request.si, request.zn)
    ordering = random_ordering(template, counts, request.seed)
    provenance = _provenance(request, template)
    if request.order == "ewald":
        energy = ordering_energy(base, request.supercell)
        conflicts = close_pairs(template.na, template.lattice_A, MIN_NA_NA_A)
        rng = np.random.default_rng(request.seed)
        found, energy_eV = anneal(energy, energy.variables(ordering), conflicts, rng)
        ordering = energy.ordering(found)
        provenance["electrostatic_energy_eV"] = energy_eV
    return place(template, ordering, provenance)


def place(template: Template, ordering: Ordering, provenance: dict[str, Any]) -> Cell:
    """Atoms on the sites of ``template`` as ``ordering`` decides; Na, Zr, Zn, Si, P, O in this order, wrapped."""
    t_symbols = np.where(ordering.t_is_si, "Si", "P")
    lengths = np.array([T_O_LENGTH_A[str(symbol)] for symbol in t_symbols])
    oxygen = template.oxygen_A(lengths) @ np.linalg.inv(template.lattice_A)
    symbols = np.concatenate([
        np.full(int(ordering.na_filled.sum()), "Na"),
        np.where(ordering.zr_is_zn, "Zn", "Zr"),
        t_symbols,
        np.full(len(oxygen), "O"),
    ])
    fractional = np.concatenate([template.na[ordering.na_filled], template.zr, template.t, oxygen])
    sites = np.concatenate(
        [template.na_names[ordering.na_filled], template.zr_names, template.t_names, template.o_names]
    )
    return _assemble(symbols, fractional, template.lattice_A, sites, provenance)


def _assemble(
    symbols: np.ndarray, fractional: np.ndarray, lattice_A: np.ndarray, sites: np.ndarray, provenance: dict[str, Any]
) -> Cell:
    order = np.argsort([_SYMBOLS.index(str(symbol)) for symbol in symbols], kind="stable")
    numbers = np.array([_NUMBER[str(symbol)] for symbol in symbols[order]])
    return Cell(numbers, _wrapped(fractional[order]) @ lattice_A, lattice_A, sites=sites[order], provenance=provenance)


def _wrapped(fractional: np.ndarray) -> np.ndarray:
    """Into [0, 1), with 0.9999999999 taken as 0."""
    return (fractional + 1e-9) % 1.0 - 1e-9


def _ordered(request: NZSPRequest) -> Cell:
    """A crystal without disorder, its sites named as in the disordered template of the phase."""
    name = _ordered_crystal(request)
    structure = crystals.load(name)
    template = templates.load_template(request.phase, request.cell)
    template = templates.with_lattice(template, structure.lattice.matrix)
    symbols = np.array([site.specie.symbol for site in structure])
    fractional = structure.frac_coords
    sites = templates.name_sites(template, symbols, fractional)
    if request.primitive:
        fractional, keep = templates.into_primitive(fractional, request.phase)
        symbols, sites = symbols[keep], sites[keep]
        template = templates.primitive(template)
    copies = np.array(list(product(*(range(n) for n in request.supercell))))
    tiled = ((fractional[None] + copies[:, None]) / np.array(request.supercell)).reshape(-1, 3)
    template = templates.repeat(template, request.supercell)
    provenance = _provenance(request, template)
    others = [source for source in provenance["sources"] if source["crystal"] != name]
    provenance["sources"] = [crystals.provenance(name), *others]
    n = len(copies)
    return _assemble(np.tile(symbols, n), tiled, template.lattice_A, np.tile(sites, n), provenance)


def _ordered_crystal(request: NZSPRequest) -> str:
    if request.zn:
        raise InputError("build nzsp: the ordered cell holds no Zn; take order random or ewald for zn > 0")
    if request.phase == "monoclinic":
        if request.si != 2.0:
            raise InputError(f"build nzsp: the ordered monoclinic cell has si=2, not {request.si:g}; take order random "
                             "or ewald")  # fmt: skip
        return templates.CRYSTAL_OF_CELL[request.cell]
    if request.si not in RHOMBOHEDRAL_END:
        raise InputError(f"build nzsp: an ordered rhombohedral crystal exists at si=0 and si=3, not {request.si:g}; "
                         "take order random or ewald")  # fmt: skip
    return RHOMBOHEDRAL_END[request.si]


def _provenance(request: NZSPRequest, template: Template) -> dict[str, Any]:
    return {
        "builder": "nzsp",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "sources": list(template.sources),
        "note": _note(request),
        "na_sites": {"names": template.na_names.tolist(), "fractional": np.round(template.na, 6).tolist()},
    }


def na_sites(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """All named Na sites of a cell that this builder made, filled or not; also after it was relaxed.

    Returns:
        (n,) names and (n, 3) Cartesian positions in Å, from fractional coordinates in the cell's present lattice.

    Raises:
        InputError: the cell does not know its Na sites.
    """
    known = cell.provenance.get("na_sites")
    if not known:
        raise InputError("this cell has no list of Na sites; build it with atomflow build nzsp")
    return np.array(known["names"]), np.array(known["fractional"]) @ cell.lattice_A
