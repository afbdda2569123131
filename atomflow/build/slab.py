"""Slabs of NZSP that cut no Si-O or P-O bond, on any plane, of whole formula units.

Every tetrahedron TO4 is one rigid group; Zr and Na are groups of one. A group belongs to the layer in which its centre
lies, so any window one period wide holds exactly the contents of the crystal's cell, wherever it begins: the slab is
stoichiometric, and what a cut breaks are Zr-O bonds only. T, Zr and Na may each be cut at their own height; among
all such cuts the one is taken that leaves no dipole along the normal and breaks the fewest Zr-O bonds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from atomflow.build.checks import FORMAL_CHARGE
from atomflow.build.planes import Plane
from atomflow.build.template import _bonds
from atomflow.cell import Cell
from atomflow.errors import InputError

KINDS = ("T", "Zr", "Na")
ZR_O_BOND_A = 2.6
#: T, Zr and Na are cut at heights that differ by no more than this, in Å.
MAX_STEP_A = 2.5
#: The dipole per volume, e/Å², that a cut may leave: about a hundredth of an electron per 10 Å².
MAX_POLARISATION_E_PER_A2 = 1e-3


@dataclass(frozen=True, eq=False)
class Groups:
    """Atoms in rigid groups.

    Attributes:
        centres_A: (G, 3) position of each group.
        kinds: (G,) ``T``, ``Zr`` or ``Na``.
        member: (N,) the group of each atom.
        offsets_A: (N, 3) atom minus centre of its group.
        numbers, sites: (N,) atomic number and site name.
    """

    centres_A: np.ndarray
    kinds: np.ndarray
    member: np.ndarray
    offsets_A: np.ndarray
    numbers: np.ndarray
    sites: np.ndarray

    @property
    def positions_A(self) -> np.ndarray:
        return self.centres_A[self.member] + self.offsets_A

    def copies(self, shifts_A: np.ndarray) -> Groups:
        """The groups once for every (n, 3) shift, shift after shift."""
        n, n_groups = len(shifts_A), len(self.centres_A)
        return Groups(
            (self.centres_A[None] + shifts_A[:, None]).reshape(-1, 3),
            np.tile(self.kinds, n),
            (self.member[None] + n_groups * np.arange(n)[:, None]).ravel(),
            np.tile(self.offsets_A, (n, 1)),
            np.tile(self.numbers, n),
            np.tile(self.sites, n),
        )


@dataclass(frozen=True)
class Cut:
    """Where the crystal is cut: heights in units of the spacing, one for each kind of group.

    Attributes:
        starts: where the window of T, Zr and Na begins.
        broken_per_nm2: Zr-O bonds cut per nm² of one surface.
        polarisation_e_per_A2: dipole along the normal per volume, formal charges.
    """

    starts: tuple[float, float, float]
    broken_per_nm2: float
    polarisation_e_per_A2: float


def grouped(cell: Cell) -> Groups:
    """The groups of an NZSP cell; every O goes with its nearest Si or P."""
    symbols = cell.symbols
    fractional = cell.fractional
    is_t, is_o = np.isin(symbols, ("Si", "P")), symbols == "O"
    if not is_t.any() or is_o.sum() != 4 * is_t.sum() or not set(symbols) <= {"Na", "Zr", "Zn", "Si", "P", "O"}:
        raise InputError("slabs are cut from NZSP: Na, Zr, Si, P and O with four O for every Si and P")
    centre_atoms = np.flatnonzero(~is_o)
    group_of = np.full(len(cell), -1)
    group_of[centre_atoms] = np.arange(len(centre_atoms))
    parent, direction = _bonds(fractional[is_o] % 1.0, fractional[is_t] % 1.0, cell.lattice_A)
    parents = np.flatnonzero(is_t)[parent]
    separation = fractional[is_o] - fractional[parents]
    offsets = np.zeros((len(cell), 3))
    candidates = (separation - np.round(separation))[:, None] + np.array(list(product((-1, 0, 1), repeat=3)))
    vectors = candidates @ cell.lattice_A
    along = np.einsum("nkj,nj->nk", vectors, direction) / np.linalg.norm(vectors, axis=2)
    offsets[is_o] = vectors[np.arange(len(parents)), along.argmax(axis=1)]
    if np.bincount(parent, minlength=is_t.sum()).max() != 4 or np.linalg.norm(offsets, axis=1).max() > 2.0:
        raise InputError("this cell has Si or P without four O of its own; relax it or take another")
    group_of[is_o] = group_of[parents]
    kinds = np.where(is_t, "T", np.where(np.isin(symbols, ("Zr", "Zn")), "Zr", "Na"))[centre_atoms]
    return Groups(cell.positions_A[centre_atoms], kinds, group_of, offsets, cell.numbers, cell.sites)


def in_plane_frame(groups: Groups, plane: Plane) -> Groups:
    """The groups turned so that the plane's normal is z."""
    return replace(groups, centres_A=groups.centres_A @ plane.rotation, offsets_A=groups.offsets_A @ plane.rotation)


def best_cut(
    groups: Groups, plane: Plane, max_polarisation: float = MAX_POLARISATION_E_PER_A2, rank: int = 0
) -> Cut:
    """The cut with the fewest broken Zr-O bonds, then the smoothest, among those that leave no dipole.

    Args:
        groups: one cell's, in the plane's frame.
        rank: 0 that cut, 1 the next best, ...; see :func:`good_cuts`.

    Raises:
        InputError: every cut leaves a dipole, or there are not so many that leave none.
    """
    good = good_cuts(groups, plane, max_polarisation)
    if rank >= len(good):
        name = " ".join(map(str, plane.indices))
        raise InputError(f"the plane {name} (primitive cell) has {len(good)} cut(s) without a dipole, counted from 0; "
                         f"there is no cut {rank}")  # fmt: skip
    return good[rank]


def good_cuts(groups: Groups, plane: Plane, max_polarisation: float = MAX_POLARISATION_E_PER_A2) -> list[Cut]:
    """Cuts without a dipole, fewest broken Zr-O bonds first; of two that inversion makes the same, one.

    Raises:
        InputError: every cut leaves a dipole.
    """
    cuts = cuts_of(groups, plane)
    good = [cut for cut in cuts if abs(cut.polarisation_e_per_A2) <= max_polarisation]
    if not good:
        least = min(abs(cut.polarisation_e_per_A2) for cut in cuts)
        name = " ".join(map(str, plane.indices))
        raise InputError(f"the plane {name} (primitive cell) cannot be cut well: of {len(cuts)} cuts that keep every "
                         f"tetrahedron and the composition, the best leaves a dipole of {least:.4f} e/Å² per height, "
                         f"more than {max_polarisation:g}")  # fmt: skip
    good.sort(key=lambda cut: (round(cut.broken_per_nm2, 6), round(np.ptp(cut.starts), 6), cut.starts))
    distinct: dict[tuple[float, ...], Cut] = {}
    for cut in good:
        turned = np.round(-np.array(cut.starts) % 1.0, 4) % 1.0  # inversion at the origin swaps the sides of the cut
        own = np.round(np.array(cut.starts) % 1.0, 4) % 1.0
        key = min(tuple(own.tolist()), tuple(turned.tolist()))
        distinct.setdefault((round(cut.broken_per_nm2, 4), *key), cut)
    return list(distinct.values())


def cuts_of(groups: Groups, plane: Plane) -> list[Cut]:
    """All cuts, T first: between every two heights at which T centres lie, Zr and Na near it."""
    height = groups.centres_A[:, 2] / plane.spacing_A
    charge = _group_charges(groups)
    inner = _inner_dipole(groups) / plane.spacing_A
    bonds = _zr_o_bonds(groups, plane)
    between = {kind: _between(height[groups.kinds == kind]) for kind in KINDS}
    step = MAX_STEP_A / plane.spacing_A
    cuts = []
    for start in between["T"]:
        near = {kind: _near(between[kind], start, step) for kind in ("Zr", "Na")}
        for zr, na in product(near["Zr"], near["Na"]):
            starts = (float(start), float(zr), float(na))
            layer = np.floor(height - _starts_of(groups, starts))
            dipole = float((charge * (height - layer)).sum() + inner)
            broken = np.abs(np.floor(height[bonds[0]] - zr) - np.floor(bonds[1] - start)).sum()
            cuts.append(Cut(starts, float(broken) / plane.area_A2 * 100, dipole / plane.area_A2))
    return cuts


def layer_groups(groups: Groups, plane: Plane, cut: Cut) -> Groups:
    """One layer: every group moved by whole steps w into its window, counted from the cut of T at height 0."""
    height = groups.centres_A[:, 2] / plane.spacing_A
    layer = np.floor(height - _starts_of(groups, cut.starts))
    centres = groups.centres_A - layer[:, None] * plane.vectors_A[2]
    centres = centres - [0.0, 0.0, cut.starts[0] * plane.spacing_A]
    return replace(groups, centres_A=centres)


def slab(groups: Groups, plane: Plane, cut: Cut, layers: int) -> Groups:
    """So many layers, stacked along w; the window of T is [0, layers·spacing) along z."""
    return layer_groups(groups, plane, cut).copies(np.arange(layers)[:, None] * plane.vectors_A[2])


def _starts_of(groups: Groups, starts: tuple[float, float, float]) -> np.ndarray:
    return np.select([groups.kinds == kind for kind in KINDS], list(starts))


def _between(heights: np.ndarray) -> np.ndarray:
    """Midpoints between neighbouring different heights, periodic with 1, in [0, 1)."""
    levels = np.unique(np.round(heights % 1.0, 5) % 1.0)
    gaps = np.diff([*levels, levels[0] + 1.0])
    return ((levels + gaps / 2)[gaps > 1e-4]) % 1.0


def _near(heights: np.ndarray, start: float, step: float) -> list[float]:
    """All periodic images of these heights within ``step`` of ``start``; the nearest one when there is none."""
    images = (heights[None] + np.arange(-np.ceil(step) - 1, np.ceil(step) + 2)[:, None]).ravel()
    near = images[np.abs(images - start) <= step]
    return [float(h) for h in near] or [float(images[np.abs(images - start).argmin()])]


def _charges(groups: Groups) -> np.ndarray:
    from ase.data import chemical_symbols

    return np.array([FORMAL_CHARGE[chemical_symbols[z]] for z in groups.numbers], dtype=float)


def _group_charges(groups: Groups) -> np.ndarray:
    return np.bincount(groups.member, _charges(groups), minlength=len(groups.centres_A))


def _inner_dipole(groups: Groups) -> float:
    """Σ q·(z - z of the group's centre), in e·Å: the same for every cut."""
    return float((_charges(groups) * groups.offsets_A[:, 2]).sum())


def _zr_o_bonds(groups: Groups, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """For every Zr-O bond: the group of the Zr, and the height (in spacings) of the T that owns the O, as bonded."""
    from ase.neighborlist import primitive_neighbor_list

    oxygen = groups.numbers == 8
    numbers = np.where(oxygen, 8, np.where(groups.kinds[groups.member] == "Zr", 40, 1))
    i, j, vectors = primitive_neighbor_list(
        "ijD", (True, True, True), plane.vectors_A, groups.positions_A, {(40, 8): ZR_O_BOND_A}, numbers=numbers
    )
    zr = numbers[i] == 40
    i, j, vectors = i[zr], j[zr], vectors[zr]
    t_z = groups.positions_A[i, 2] + vectors[:, 2] - groups.offsets_A[j, 2]
    return groups.member[i], t_z / plane.spacing_A
