"""Is this cell sound? Charge, contacts, density and coordination, each with its reason when it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError

#: Formal charges in |e|.
FORMAL_CHARGE = {"Na": 1, "Zr": 4, "Zn": 2, "Si": 4, "P": 5, "O": -2, "B": 3, "V": 3, "Cr": 3}
#: No two atoms come nearer than this, in Å (P-O is 1.53), unless the next table says otherwise.
MIN_CONTACT_A = 1.4
#: Two atoms of these pairs (symbols in alphabetical order) do not come nearer than this, in Å (B-O is 1.37).
MIN_PAIR_A = {"B-O": 1.2, "Na-Na": 2.4, "Na-O": 1.9, "O-O": 2.0, "O-Zr": 1.75, "O-Zn": 1.75}
#: element → (oxygen neighbours, within this distance in Å). The NASICON framework's.
COORDINATION = {"Si": (4, 2.0), "P": (4, 2.0), "Zr": (6, 2.6), "Zn": (6, 2.6)}
_CONTACT_RANGE_A = 4.0


@dataclass(frozen=True)
class CellCheck:
    """What the checks found.

    Attributes:
        formula, n_atoms, density_g_per_cm3: of the cell.
        charge: sum of formal charges in |e|; without the atoms of a metal; None without oxygen or
            when an element has no formal charge here.
        shortest_A: pair, e.g. ``Na-O`` → shortest distance in Å (pairs nearer than 4 Å).
        coordination: element → {oxygen neighbours: how many atoms have as many}.
        problems: one sentence each; empty when the cell is sound.
    """

    formula: str
    n_atoms: int
    density_g_per_cm3: float
    charge: int | None
    shortest_A: dict[str, float]
    coordination: dict[str, dict[int, int]]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "problems": list(self.problems), "ok": self.ok}


def check_cell(cell: Cell) -> CellCheck:
    """Check a cell without changing it or raising; see :func:`require_sound`.

    The coordination rules are those of the NASICON framework: they are applied to cells that hold Na, Zr, O and Si or
    P, and there to the atoms of crystal grains (regions glass, metal and boundary are left out). In the grains of a
    boundary only Si and P are held to them: near a boundary or a surface Zr may lack oxygen.
    """
    from ase.neighborlist import neighbor_list

    symbols = cell.symbols
    first, second, distance = neighbor_list("ijd", cell.to_ase(), _CONTACT_RANGE_A, self_interaction=False)
    shortest = _shortest(symbols, first, second, distance)
    charge = _charge(cell)
    coordination = _coordination(cell, symbols, first, second, distance)
    problems = []
    if charge:
        problems.append(f"the formal charges add up to {charge:+d}, not to zero")
    problems += _contact_problems(shortest) + _coordination_problems(coordination)
    return CellCheck(cell.formula, len(cell), cell.density_g_per_cm3, charge, shortest, coordination, tuple(problems))


def require_sound(cell: Cell, what: str = "the cell") -> CellCheck:
    """The check's result; :class:`InputError` with the first reason (and how many more) when it fails."""
    found = check_cell(cell)
    if not found.ok:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        raise InputError(f"{what} fails its checks: {found.problems[0]}{more}")
    return found


def _charge(cell: Cell) -> int | None:
    composition = cell.composition
    if "O" not in composition or any(symbol not in FORMAL_CHARGE for symbol in composition):
        return None
    ions = cell.symbols[cell.regions != "metal"].tolist()
    return sum(FORMAL_CHARGE[symbol] for symbol in ions)


def _shortest(symbols: np.ndarray, first: np.ndarray, second: np.ndarray, distance: np.ndarray) -> dict[str, float]:
    elements, code = np.unique(symbols, return_inverse=True)
    pair = code[first] * len(elements) + code[second]
    nearest = np.full(len(elements) ** 2, np.inf)
    np.minimum.at(nearest, pair, distance)
    table = nearest.reshape(len(elements), -1)
    return {
        f"{a}-{b}": float(table[i, j])
        for i, a in enumerate(elements)
        for j, b in enumerate(elements)
        if i <= j and np.isfinite(table[i, j])
    }


def _contact_problems(shortest: dict[str, float]) -> list[str]:
    problems = []
    for pair, distance in shortest.items():
        limit = MIN_PAIR_A.get(pair, MIN_CONTACT_A)
        if distance < limit:
            problems.append(f"{pair} contact of {distance:.2f} Å, nearer than {limit:g} Å")
    return problems


def _coordination(
    cell: Cell, symbols: np.ndarray, first: np.ndarray, second: np.ndarray, distance: np.ndarray
) -> dict[str, dict[int, int]]:
    if not ({"Na", "Zr", "O"} <= set(cell.composition) and {"Si", "P"} & set(cell.composition)):
        return {}
    result: dict[str, dict[int, int]] = {}
    for element, (_, cutoff) in COORDINATION.items():
        where = ("bulk", "grain_a", "grain_b") if element in ("Si", "P") else ("bulk",)
        atoms = np.flatnonzero((symbols == element) & np.isin(cell.regions, where))
        if len(atoms):
            bonds = (symbols[second] == "O") & (distance < cutoff)
            neighbours = np.bincount(first[bonds], minlength=len(cell))[atoms]
            values, counts = np.unique(neighbours, return_counts=True)
            result[element] = {int(v): int(c) for v, c in zip(values, counts, strict=True)}
    return result


def _coordination_problems(coordination: dict[str, dict[int, int]]) -> list[str]:
    problems = []
    for element, histogram in coordination.items():
        expected, cutoff = COORDINATION[element]
        for neighbours, count in histogram.items():
            if neighbours != expected:
                problems.append(f"{count} {element} with {neighbours} O within {cutoff:g} Å, {expected} expected")
    return problems
