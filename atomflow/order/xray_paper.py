"""The publication's X-ray lines beside those of a cell, for both readings of its unstated wavelength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow import paper
from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.order.xray import WAVELENGTHS_A, Lines, lines

#: Stem of the publication's ids (``xrd.mZrO2_011``) → reduced formula of the phase.
PHASES = {"mZrO2": "ZrO2", "ZrSiO4": "ZrSiO4"}
_RANGE_DEG = 0.5
_FAINTEST = 2.0


@dataclass(frozen=True)
class PaperLine:
    """One printed line and the computed one nearest to it (fainter than 2 % of the strongest do not count).

    Attributes:
        id, printed_deg: of the publication. assigned: the reflection as printed.
        hkl, relative: of the computed line. two_theta_deg: {"CuKa1": ..., "CuKa": ...}; None if none is within 0.5°.
    """

    id: str
    assigned: str
    printed_deg: float
    hkl: str | None
    relative: float | None
    two_theta_deg: dict[str, float | None]

    def difference_deg(self, radiation: str) -> float | None:
        """Computed minus printed."""
        computed = self.two_theta_deg[radiation]
        return None if computed is None else computed - self.printed_deg

    @property
    def nearer(self) -> str | None:
        """The wavelength that comes closer."""
        known = {name: abs(d) for name in self.two_theta_deg if (d := self.difference_deg(name)) is not None}
        return min(known, key=lambda name: known[name]) if known else None

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "nearer": self.nearer,
                "difference_deg": {name: self.difference_deg(name) for name in self.two_theta_deg}}


def compare_paper(cell: Cell) -> list[PaperLine]:
    """Every printed line of the phase that the cell is.

    Raises:
        InputError: the publication prints no lines of this phase.
    """
    import math

    counts = cell.composition
    divisor = math.gcd(*counts.values())
    reduced = {symbol: count // divisor for symbol, count in counts.items()}
    known = {"ZrO2": {"Zr": 1, "O": 2}, "ZrSiO4": {"Zr": 1, "Si": 1, "O": 4}}
    stems = [stem for stem, formula in PHASES.items() if known[formula] == reduced]
    if not stems:
        raise InputError(f"the publication prints X-ray lines of {' and '.join(PHASES.values())} only, "
                         f"not of {cell.formula}")
    printed = [value for value in paper.values("structure") if value.id.startswith(f"xrd.{stems[0]}_")]
    low, high = min(v.number() for v in printed) - 3.0, max(v.number() for v in printed) + 3.0
    computed = {name: lines(cell, WAVELENGTHS_A[name], low, high) for name in ("CuKa1", "CuKa")}
    strongest = lines(cell, WAVELENGTHS_A["CuKa1"]).strength.max()
    result = []
    for value in printed:
        found = {name: _nearest(table, value.number(), strongest) for name, table in computed.items()}
        one = found["CuKa1"] if found["CuKa1"] is not None else found["CuKa"]
        table = computed["CuKa1"]
        result.append(PaperLine(
            value.id, value.id.rpartition("_")[2], value.number(),
            None if one is None else table.hkl[one], None if one is None else 100.0 * table.strength[one] / strongest,
            {name: None if index is None else float(computed[name].two_theta_deg[index])
             for name, index in found.items()}))
    return result


def _nearest(table: Lines, two_theta_deg: float, strongest: float) -> int | None:
    visible = np.flatnonzero(100.0 * table.strength / strongest >= _FAINTEST)
    if len(visible) == 0:
        return None
    best = visible[int(np.argmin(np.abs(table.two_theta_deg[visible] - two_theta_deg)))]
    return int(best) if abs(table.two_theta_deg[best] - two_theta_deg) <= _RANGE_DEG else None
