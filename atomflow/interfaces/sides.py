"""A bicrystal taken apart into its grains, and put together again at other translations, gaps and thicknesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.build.sealed import boundary_facts
from atomflow.build.stacking import needed_gaps
from atomflow.cell import Cell
from atomflow.errors import InputError

#: Maps tried from the translations of the first boundary to the equivalent ones of the second.
_TURNS = (np.eye(2), -np.eye(2), np.diag([1.0, -1.0]), np.diag([-1.0, 1.0]))


@dataclass(frozen=True, eq=False)
class Sides:
    """Grain a below grain b, each with its lower face at z = 0.

    Attributes:
        cell: what they were taken from. facts: of its builder.
        n_a: atoms of grain a, which come first.
        positions_A: (N, 3) of both, each grain from its own lower face.
        heights_A: between the faces of a and of b.
        translations_A: (k, 2) of b against a, and of the next a against b (k = 2, or 1 with a vacuum).
        gaps_A: (k,) between the faces.
        in_plane_A: (2, 2) shared lattice.
    """

    cell: Cell
    facts: dict[str, Any]
    n_a: int
    positions_A: np.ndarray
    heights_A: tuple[float, float]
    translations_A: np.ndarray
    gaps_A: np.ndarray
    in_plane_A: np.ndarray

    @property
    def n_boundaries(self) -> int:
        return len(self.gaps_A)

    @property
    def area_A2(self) -> float:
        return float(abs(np.linalg.det(self.in_plane_A)))

    def faces(self, boundary: int) -> tuple[tuple[np.ndarray, np.ndarray, float], ...]:
        """Symbols, positions and height of the lower and the upper side of a boundary."""
        symbols = self.cell.symbols
        a = (symbols[: self.n_a], self.positions_A[: self.n_a])
        b = (symbols[self.n_a :], self.positions_A[self.n_a :])
        low, high = ((a, b), (b, a))[boundary]
        return (*low, self.heights_A[boundary]), (*high, 0.0)

    def gaps_at(self, boundary: int, shifts_A: np.ndarray) -> np.ndarray:
        """(S,) the least gap without close contacts at each translation of the upper side."""
        low, high = self.faces(boundary)
        return needed_gaps(low, high, self.in_plane_A, shifts_A) + 1e-3

    def equivalent(self, shifts_A: np.ndarray, gaps_A: np.ndarray) -> np.ndarray | None:
        """(2, 2) map from translations of the first boundary to those that make the second one the same; or None.

        Judged by the least gaps at every translation given, which differ where the boundaries do.
        """
        if self.n_boundaries < 2:
            return None
        for turn in _TURNS:
            if np.allclose(self.gaps_at(1, shifts_A @ turn), gaps_A, atol=1e-3):
                return turn
        return None

    def joined(self, translations_A: np.ndarray, gaps_A: np.ndarray | Sequence[float]) -> Cell:
        """The cell with these translations (k, 2) and gaps (k,); its provenance names both."""
        translations, gaps = np.asarray(translations_A, dtype=float), np.asarray(gaps_A, dtype=float)
        lift = np.array([*translations[0], self.heights_A[0] + gaps[0]])
        top = lift[2] + self.heights_A[1]
        if self.n_boundaries == 2:
            c = np.array([*translations.sum(axis=0), top + gaps[1]])
            levels = [lift[2] - gaps[0] / 2, c[2] - gaps[1] / 2]
        else:
            rest = self.cell.lattice_A[2, 2] - sum(self.heights_A) - self.gaps_A[0]
            c, levels = np.array([0.0, 0.0, top + rest]), [lift[2] - gaps[0] / 2]
        c[:2] -= np.round(c[:2] @ np.linalg.inv(self.in_plane_A)) @ self.in_plane_A
        lattice = np.vstack([self.cell.lattice_A[:2], c])
        positions = self.positions_A.copy()
        positions[self.n_a :] += lift
        places = [{"z_A": float(z), "gap_A": float(g), "translation_A": t.tolist()}
                  for z, g, t in zip(levels, gaps, translations, strict=True)]  # fmt: skip
        facts = {**self.facts, "boundaries": places, "height_A": float(c[2]), "excess_volume_A": gaps.tolist()}
        fractional = positions @ np.linalg.inv(lattice)
        fractional[:, :2] %= 1.0
        return Cell(self.cell.numbers, fractional @ lattice, lattice, self.cell.regions, self.cell.sites, facts)


def sides(cell: Cell) -> Sides:
    """Take a boundary apart, as built or relaxed.

    Raises:
        InputError: not a boundary, or one that holds a film.
    """
    facts = boundary_facts(cell)
    if cell.provenance.get("builder") != "boundary":  # atoms of a search, no longer those of the crystal
        facts = {**facts, "relaxed": {"builder": cell.provenance.get("builder")}}
    n_a, places = facts["atoms_of_grain_a"], facts["boundaries"]
    lattice = cell.lattice_A
    z = cell.positions_A[:, 2]
    low_b = places[0]["z_A"] + places[0]["gap_A"] / 2
    height_a = places[0]["z_A"] - places[0]["gap_A"] / 2
    top_b = places[1]["z_A"] - places[1]["gap_A"] / 2 if len(places) > 1 else low_b + facts["grain_thickness_A"][1]
    middle = np.where(np.arange(len(cell)) < n_a, height_a / 2, (low_b + top_b) / 2)
    turns = np.round((z - middle) / lattice[2, 2])
    positions = cell.positions_A - turns[:, None] * lattice[2]
    translations = np.array([place["translation_A"] for place in places])
    positions[n_a:] -= [*translations[0], low_b]
    return Sides(cell, facts, n_a, positions, (height_a, top_b - low_b), translations,
                 np.array([place["gap_A"] for place in places]), lattice[:2, :2].copy())  # fmt: skip


def crystals_of(cell: Cell) -> list[Cell]:
    """The perfect crystals that the grains of a boundary or slab, as built, are pieces of; strained as these are.

    Raises:
        InputError: relaxed since it was built, or built before the periods of the crystal were noted.
    """
    facts, n_a = _as_built(cell)
    pieces = [np.arange(len(cell)) < n_a, np.arange(len(cell)) >= n_a]
    found = []
    for mask, period in zip(pieces, facts["crystal_periods_A"], strict=False):
        lattice = np.vstack([cell.lattice_A[:2], period])
        positions = cell.positions_A[mask] @ np.linalg.inv(lattice) % 1.0 @ lattice
        found.append(Cell(cell.numbers[mask], positions, lattice, None, cell.sites[mask],  # type: ignore[arg-type]
                          {"builder": "crystal of a grain", "of": facts}))  # fmt: skip
    return found


def thickened(cell: Cell) -> Cell:
    """The boundary or slab, as built, with grains twice as thick and the same faces and translations."""
    facts, n_a = _as_built(cell)
    periods = [np.array(period) for period in facts["crystal_periods_A"]]
    is_a = np.arange(len(cell)) < n_a
    lower = np.where(is_a[:, None], 0.0, periods[0])
    upper = np.where(is_a[:, None], periods[0], periods[0] + periods[-1])
    order = np.argsort(np.tile(~is_a, 2), kind="stable")
    positions = np.concatenate([cell.positions_A + lower, cell.positions_A + upper])[order]
    lattice = cell.lattice_A.copy()
    lattice[2] += np.sum(periods, axis=0)
    lattice[2, :2] -= np.round(lattice[2, :2] @ np.linalg.inv(lattice[:2, :2])) @ lattice[:2, :2]
    fractional = positions @ np.linalg.inv(lattice)
    fractional[:, :2] %= 1.0
    tiled = [np.tile(values, 2)[order] for values in (cell.numbers, cell.regions, cell.sites)]
    heights = [2 * h for h in facts["grain_thickness_A"]]
    more: dict[str, Any] = {"grain_thickness_A": heights, "crystal_periods_A": [(2 * p).tolist() for p in periods]}
    if "boundaries" in facts:
        rise = np.cumsum([period[2] for period in periods])
        places = [{**place, "z_A": place["z_A"] + float(up)}
                  for place, up in zip(facts["boundaries"], rise, strict=False)]  # fmt: skip
        more |= {"boundaries": places, "atoms_of_grain_a": 2 * n_a, "height_A": float(lattice[2, 2])}
    return Cell(tiled[0], fractional @ lattice, lattice, tiled[1], tiled[2], {**facts, **more})


def _as_built(cell: Cell) -> tuple[dict[str, Any], int]:
    facts = cell.provenance
    if "crystal_periods_A" not in facts or "relaxed" in facts:
        raise InputError("this needs a boundary or slab as atomflow build wrote it, not relaxed since; build it again")
    return facts, facts.get("atoms_of_grain_a", len(cell))
