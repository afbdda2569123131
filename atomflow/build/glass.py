"""Zinc borate glass before it is a glass: a random packing of (ZnO)₂(B₂O₃)₃ units, with Na₂O that it took up.

No homogeneous glass of 40 mol% ZnO is known (the composition lies inside the liquid immiscibility range), so there is
no measured density: 2.85 ± 0.15 g/cm³ is an estimate between the mixture of the oxides (2.61) and that of the crystals
ZnB4O7 and Zn4B6O13 (3.33). A packing has no chemistry: melt and quench it before asking it anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from atomflow.build.checks import require_sound
from atomflow.build.packing import box_of_density, contact_ratio, push_apart
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError
from atomflow.version import __version__

#: Estimate, not a measurement; and its uncertainty.
DENSITY_G_PER_CM3, DENSITY_UNCERTAINTY_G_PER_CM3 = 2.85, 0.15
ESTIMATE = (f"estimate, {DENSITY_G_PER_CM3} ± {DENSITY_UNCERTAINTY_G_PER_CM3} g/cm³; no homogeneous glass of this "
            "composition was measured")  # fmt: skip
#: Atoms of one (ZnO)2(B2O3)3 unit and of one Na2O, in the order in which cells list them.
UNIT = {"Zn": 2, "B": 6, "O": 11}
SODIUM_OXIDE = {"Na": 2, "O": 1}
#: No contact of a packing is below this part of its natural distance.
FLOOR = 0.97
SWEEPS = 600
MAX_ATOMS = 50_000
_ORDER = ("Na", "Zn", "B", "O")


class GlassRequest(StrictModel):
    """What to build; see :func:`build_glass`."""

    units: int = Field(8, ge=1)
    na: float = Field(0.0, ge=0.0, le=10.0)
    density: float = Field(DENSITY_G_PER_CM3, gt=0.5, le=8.0)
    seed: int = Field(1, ge=0)


def build_glass(
    units: int = 8, na: float = 0.0, density: float = DENSITY_G_PER_CM3, seed: int = 1
) -> Cell:
    """A cubic box of a random packing of (Na₂O)ₙₐ(ZnO)₂(B₂O₃)₃ units, all of region ``glass``.

    Args:
        units: (ZnO)₂(B₂O₃)₃ units of 19 atoms.
        na: Na₂O taken up per unit; a whole number of Na₂O in all.
        density: in g/cm³; the default is an estimate.
        seed: the same seed gives the same cell.

    Raises:
        InputError: a value out of range, an uptake that is not a whole number of Na₂O, or a density at which the atoms
            do not fit.
    """
    data = {"units": units, "na": na, "density": density, "seed": seed}
    request = parse(GlassRequest, data, "build glass")
    symbols = glass_symbols(request.units, whole_sodium_oxides(request.units, request.na))
    if len(symbols) > MAX_ATOMS:
        raise InputError(f"build glass: {len(symbols):,} atoms; {MAX_ATOMS:,} is the most")
    lattice_A = np.eye(3) * box_of_density(symbols, request.density) ** (1 / 3)
    start = np.random.default_rng(request.seed).random((len(symbols), 3)) @ lattice_A
    positions = push_apart(symbols, start, lattice_A, 1.0, SWEEPS)
    if contact_ratio(symbols, positions, lattice_A) < FLOOR:
        raise InputError(f"build glass: the atoms do not fit at {request.density:g} g/cm³ without close contacts; "
                         "take a lower density")  # fmt: skip
    positions = (positions @ np.linalg.inv(lattice_A)) % 1.0 @ lattice_A
    built = glass_cell(symbols, positions, lattice_A, _provenance(request))
    require_sound(built, "the packing")
    return built


def whole_sodium_oxides(units: int, na: float) -> int:
    """Na₂O in so many units; an :class:`InputError` names the nearest uptakes when it is not a whole number."""
    exact = units * na
    if abs(exact - round(exact)) > 1e-6:
        low, high = np.floor(exact) / units, np.ceil(exact) / units
        raise InputError(f"na={na:g} is {exact:g} Na2O in {units} units; the nearest that fit are na={low:.6g} and "
                         f"na={high:.6g} (or take more units)")  # fmt: skip
    return round(exact)


def glass_symbols(units: int, sodium_oxides: int) -> np.ndarray:
    """(N,) symbols of the units and oxides, by element: Na, Zn, B, O."""
    counts = {s: units * UNIT.get(s, 0) + sodium_oxides * SODIUM_OXIDE.get(s, 0) for s in _ORDER}
    return np.repeat(list(counts), list(counts.values()))


def glass_units(composition: dict[str, int]) -> tuple[int, int] | None:
    """Units and Na₂O of a composition; None when it is not a whole number of both."""
    units, sodium_oxides = composition.get("Zn", 0) // 2, composition.get("Na", 0) // 2
    symbols, counts = np.unique(glass_symbols(units, sodium_oxides), return_counts=True)
    expected = dict(zip(symbols.tolist(), counts.tolist(), strict=True))
    return (units, sodium_oxides) if units and expected == composition else None


def glass_cell(symbols: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray, provenance: dict[str, Any]) -> Cell:
    """A cell of region ``glass``."""
    from ase.data import atomic_numbers

    numbers = np.array([atomic_numbers[str(symbol)] for symbol in symbols])
    return Cell(numbers, positions_A, lattice_A, regions=np.full(len(symbols), "glass"), provenance=provenance)


def _provenance(request: GlassRequest) -> dict[str, Any]:
    estimated = abs(request.density - DENSITY_G_PER_CM3) < 1e-9
    return {
        "builder": "glass",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "density": ESTIMATE if estimated else "as given",
        "note": "a random packing, not yet a glass: melt and quench it",
    }
