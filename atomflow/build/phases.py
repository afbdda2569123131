"""Cells of the other phases: impurities, electrode metal, cathode, zinc borates and what may form between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from atomflow import crystals
from atomflow.build.checks import require_sound
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError, nearest
from atomflow.version import __version__

#: name on the command line → crystal of ``structures/``. NVCP is made by substitution, see :func:`_nvcp`.
#: Na2O2 (peroxide) and Zr3O (suboxide) are not here: the check of formal charges does not hold for them.
PHASES = {
    "ZrO2": "ZrO2_baddeleyite_P21c", "ZrO2-tetragonal": "ZrO2_tetr", "ZrSiO4": "ZrSiO4_zircon_I41amd",
    "Na": "Na_bcc", "Zn": "Zn_P63mmc", "Zr": "Zr_P63mmc", "Si": "Si_Fd-3m", "P": "P_black_Cmce", "B": "B_alpha_R-3m",
    "ZnO": "ZnO_P63mc", "B2O3": "B2O3-I_P3121", "ZnB4O7": "ZnB4O7_alpha_Pbca", "Zn4B6O13": "Zn4B6O13_I-43m",
    "SiO2": "SiO2_quartz", "P2O5": "P2O5_Pnma", "BPO4": "BPO4_I-4", "Na2O": "Na2O_Fm-3m",
    "NaBO2": "NaBO2_R-3c", "Na3PO4": "Na3PO4_alpha", "Na2SiO3": "Na2SiO3_Cmc21", "Na2Si2O5": "Na2Si2O5_beta_P21c",
    "NaZr2P3O12": "NaZr2P3O12_R-3c_Hong1976", "Na4Zr2Si3O12": "Na4Zr2Si3O12_R-3c_TranQui1981_RT",
    "Na3P": "Na3P_P63cm", "NaP": "NaP_P212121", "NaZn13": "NaZn13_Fm-3c", "ZnP4": "ZnP4", "ZrP2": "ZrP2_Pnma",
    "ZrSi": "ZrSi_Pnma", "ZrSi2": "ZrSi2_Cmcm", "Zr2Si": "Zr2Si_I4mcm", "Zr5Si3": "Zr5Si3_P63mcm",
    "Zr5Si4": "Zr5Si4_P41212", "ZrB2": "ZrB2_P6mmm",
}  # fmt: skip
NVCP = "NVCP"
NVCP_CRYSTAL = "Na3V2P3O12_R-3c_Zatovsky2010"
#: Part of V that is Cr in Na3V1.5Cr0.5(PO4)3, and Na per two metal atoms.
NVCP_CR_SHARE, NVCP_NA_PER_METAL = 0.25, 1.5
METALS = ("Na", "Zn", "Zr")
MAX_ATOMS = 200_000


class PhaseRequest(StrictModel):
    """What to build; see :func:`build_phase`."""

    name: str
    supercell: tuple[int, int, int] = (1, 1, 1)
    seed: int = Field(0, ge=0)


def build_phase(name: str, supercell: tuple[int, int, int] = (1, 1, 1), seed: int = 0) -> Cell:
    """A crystal by its formula, in any supercell of its conventional cell.

    Args:
        name: one of :data:`PHASES`, or ``NVCP`` (Na₃V₁.₅Cr₀.₅(PO₄)₃: Zatovsky's Na₃V₂(PO₄)₃ with Cr on a quarter of V).
        supercell: repeats along a, b, c.
        seed: decides which V are Cr and which Na sites are full in NVCP; nothing else is random.

    Raises:
        InputError: no such phase, or a supercell that is not three whole numbers from 1 up.
    """
    data = {"name": name, "supercell": supercell, "seed": seed}
    request = parse(PhaseRequest, data, "build phase")
    if any(n < 1 for n in request.supercell):
        given = " ".join(map(str, request.supercell))
        raise InputError(f"build phase: supercell {given}: three whole numbers from 1 up are needed")
    if request.name != NVCP and request.name not in PHASES:
        hint = nearest(request.name, {*PHASES, NVCP})
        raise InputError(f"there is no phase '{request.name}'{hint or f'; known: {NVCP}, ' + ', '.join(PHASES)}")
    crystal = NVCP_CRYSTAL if request.name == NVCP else PHASES[request.name]
    structure = crystals.load(crystal)
    if len(structure) * math.prod(request.supercell) > MAX_ATOMS:
        raise InputError(f"build phase: this supercell has more than {MAX_ATOMS:,} atoms")
    structure.make_supercell(request.supercell)
    provenance: dict[str, Any] = {
        "builder": "phase",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "sources": [crystals.provenance(crystal)],
    }
    if request.name == NVCP:
        provenance["note"] = "Cr on V and Na over its sites are drawn at random; no ordered crystal is known"
        symbols, keep = _nvcp(structure, np.random.default_rng(request.seed))
    else:
        symbols, keep = np.array([site.specie.symbol for site in structure]), np.arange(len(structure))
    built = _cell(symbols, structure.cart_coords[keep], structure.lattice.matrix, request.name, provenance)
    require_sound(built, f"{request.name}")
    return built


def _nvcp(structure: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of the atoms kept, and their indices: Cr on a quarter of V, Na on its sites as they are occupied."""
    elements = np.array([site.species.elements[0].symbol for site in structure])
    metal, sodium = np.flatnonzero(elements == "V"), np.flatnonzero(elements == "Na")
    elements[rng.choice(metal, round(NVCP_CR_SHARE * len(metal)), replace=False)] = "Cr"
    occupancy = np.array([structure[int(i)].species.num_atoms for i in sodium])
    likelier = np.log(occupancy / (1 - occupancy)) + rng.gumbel(size=len(sodium))
    full = sodium[np.argsort(-likelier)[: round(NVCP_NA_PER_METAL * len(metal))]]
    keep = np.sort(np.concatenate([full, np.flatnonzero(elements != "Na")]))
    return elements[keep], keep


def _cell(
    symbols: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray, name: str, provenance: dict[str, Any]
) -> Cell:
    from ase.data import atomic_numbers

    numbers = np.array([atomic_numbers[str(symbol)] for symbol in symbols])
    region = "metal" if name in METALS else "bulk"
    return Cell(numbers, positions_A, lattice_A, regions=np.full(len(numbers), region), provenance=provenance)
