"""Three-membered B3O3 (boroxol) rings: three borons, each two sharing one oxygen, closed without crossing the box."""

from __future__ import annotations

import numpy as np

from atomflow.order.neighbours import pairs


def boroxol_fraction(
    positions_A: np.ndarray,
    lattice_A: np.ndarray,
    symbols: np.ndarray,
    cutoff_A: float,
    region: np.ndarray | None = None,
) -> float:
    """Share of the borons that are in at least one B3O3 ring; NaN without boron.

    Args:
        region: (N,) mask of the borons that count (all when not given).
    """
    boron = symbols == "B"
    if region is not None:
        boron = boron & region
    if not boron.any():
        return float("nan")
    bonds = pairs(positions_A, lattice_A, boron, symbols == "O", cutoff_A)
    by_oxygen: dict[int, list[tuple[int, np.ndarray]]] = {}
    for b, o, vector in zip(bonds.first, bonds.second, bonds.vector_A, strict=True):
        by_oxygen.setdefault(int(o), []).append((int(b), vector))
    links: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for oxygen, owners in by_oxygen.items():
        for b, vector in owners:
            for other, back in owners:
                if other != b:
                    links.setdefault(b, []).append((other, oxygen, vector - back))
    members: set[int] = set()
    for start, first in links.items():
        for b, oxygen_ab, ab in first:
            for c, oxygen_bc, bc in links[b]:
                if c in (start, b) or oxygen_bc == oxygen_ab:
                    continue
                for end, oxygen_ca, ca in links[c]:
                    ring = len({oxygen_ab, oxygen_bc, oxygen_ca}) == 3
                    if end == start and ring and np.abs(ab + bc + ca).max() < 1e-6:
                        members.update((start, b, c))
    return len(members) / int(boron.sum())
