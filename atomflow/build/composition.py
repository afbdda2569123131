"""How many atoms of each kind: Na₁₊ₓ₊₂ᵧZr₂₋ᵧZnᵧSiₓP₃₋ₓO₁₂ in a whole number of formula units.

Each Si⁴⁺ on a P⁵⁺ site brings one Na⁺, each Zn²⁺ on a Zr⁴⁺ site two. The cavities hold at most four Na per formula
unit (one Na1/M1 and three of the other kind), so x + 2y ≤ 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from atomflow.errors import InputError

MAX_NA_PER_FORMULA = 4


@dataclass(frozen=True)
class Counts:
    """Atoms in the cell."""

    na: int
    zr: int
    zn: int
    si: int
    p: int


def count_atoms(formula_units: int, si: float, zn: float) -> Counts:
    """Atoms of a neutral cell with ``si`` = x Si and ``zn`` = y Zn per formula unit.

    Raises:
        InputError: x or y out of range, too much Na for the sites, or not representable in this many formula units
            (the message names the nearest values that are).
    """
    if not 0 <= si <= 3:
        raise InputError(f"si={si:g}: the Si content x of Na1+xZr2SixP3-xO12 lies between 0 and 3")
    if not 0 <= zn <= 2:
        raise InputError(f"zn={zn:g}: the Zn content y per formula unit lies between 0 and 2")
    if si + 2 * zn > MAX_NA_PER_FORMULA - 1 + 1e-9:
        raise InputError(
            f"zn={zn:g} with si={si:g} needs {1 + si + 2 * zn:g} Na per formula unit, and there are sites for "
            f"{MAX_NA_PER_FORMULA}: zn can be at most {(3 - si) / 2:g}"
        )
    n_si = _whole("si", si, formula_units)
    n_zn = _whole("zn", zn, formula_units)
    return Counts(
        na=formula_units + n_si + 2 * n_zn,
        zr=2 * formula_units - n_zn,
        zn=n_zn,
        si=n_si,
        p=3 * formula_units - n_si,
    )


def _whole(name: str, value: float, formula_units: int) -> int:
    exact = value * formula_units
    if abs(exact - round(exact)) > 1e-6:
        below, above = floor(exact) / formula_units, ceil(exact) / formula_units
        raise InputError(
            f"{name}={value:g} is {exact:g} atoms in {formula_units} formula units; the nearest this cell can hold are "
            f"{name}={below:.6g} and {name}={above:.6g} (or take a larger supercell)"
        )
    return round(exact)
