"""Which ion hops where: the named sites of a cell, who is on them, and the vacancy that a full cell needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow.build.nzsp import na_sites
from atomflow.cell import Cell
from atomflow.errors import InputError, check_positive, nearest

#: An ion this near to a site is on it, in Å.
ON_SITE_A = 1.2


@dataclass(frozen=True)
class Choice:
    """Which ion goes where: indices of the atom and of both sites, length, and vacant sites of that kind as near."""

    atom: int
    start: int
    end: int
    names: tuple[str, str]
    length_A: float
    targets: int
    end_A: np.ndarray


@dataclass(frozen=True)
class _Sites:
    """All named sites: (S,) names, (S, 3) places, (S,) whether a Na is on each, and (S,) the nearest Na of each."""

    names: np.ndarray
    places_A: np.ndarray
    held: np.ndarray
    owner: np.ndarray


def choose(cell: Cell, start: str, end: str, rank: int = 0, length_A: float | None = None) -> Choice:
    """The ``rank``-th shortest hop of a Na on a site of kind ``start`` to a vacant site of kind ``end``.

    Args:
        length_A: count from the hop that is nearest to this long instead.

    Raises:
        InputError: no such kind of site, none of them occupied or vacant.
    """
    sites = _sites(cell, start, end)
    from_ = np.flatnonzero((sites.names == start) & sites.held)
    to = np.flatnonzero((sites.names == end) & ~sites.held)
    if len(from_) == 0:
        raise InputError(f"no Na is on a {start} site of this cell: {_who(sites)}")
    if len(to) == 0:
        raise InputError(f"no {end} site of this cell is vacant: {_who(sites)}; --vacancy takes an ion out")
    lengths = np.linalg.norm(separations(cell, sites.places_A[from_], sites.places_A[to]), axis=2)
    i, j = _ranked(lengths, rank, length_A, f"hops from {start} to {end}")
    return _between(cell, sites, int(from_[i]), int(to[j]))


def into_vacancy(
    cell: Cell, start: str, end: str, rank: int = 0, length_A: float | None = None
) -> tuple[Cell, Choice]:
    """The cell without the Na at the far end of the ``rank``-th shortest step from an occupied ``start`` to an
    occupied ``end`` site, and the hop into its place: where an ordered cell is full, ions move into vacancies.

    Raises:
        InputError: no such kind of site, or not two of them occupied.
    """  # fmt: skip
    sites = _sites(cell, start, end)
    from_, to = (np.flatnonzero((sites.names == name) & sites.held) for name in (start, end))
    lengths = np.linalg.norm(separations(cell, sites.places_A[from_], sites.places_A[to]), axis=2)
    lengths[from_[:, None] == to[None]] = np.inf
    if not np.isfinite(lengths).any():
        raise InputError(f"no two Na are on {start} and {end} sites of this cell: no vacancy to make; {_who(sites)}")
    i, j = _ranked(lengths, rank, length_A, f"steps from {start} to {end}")
    gone = int(sites.owner[to[j]])
    kept = np.arange(len(cell)) != gone
    made = Cell(cell.numbers[kept], cell.positions_A[kept], cell.lattice_A, cell.regions[kept], cell.sites[kept],
                {**cell.provenance, "vacancy": {"atom": gone, "site": end}})  # fmt: skip
    return made, _between(made, _sites(made, start, end), int(from_[i]), int(to[j]))


def separations(cell: Cell, from_A: np.ndarray, to_A: np.ndarray) -> np.ndarray:
    """(n, m, 3) shortest vectors from one set of places to another, images counted."""
    inverse = np.linalg.inv(cell.lattice_A)
    fraction = (to_A[None] - from_A[:, None]) @ inverse
    near = fraction - np.round(fraction)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    every = (near[:, :, None] + shifts) @ cell.lattice_A
    best = np.linalg.norm(every, axis=3).argmin(axis=2)
    return np.asarray(np.take_along_axis(every, best[:, :, None, None], axis=2)[:, :, 0])


def _ranked(lengths: np.ndarray, rank: int, length_A: float | None, what: str) -> tuple[int, int]:
    """Row and column of the ``rank``-th of (n, m) lengths: the shortest first, or those nearest to a length."""
    if length_A is not None:
        check_positive("the length of the hop (--length)", length_A)
    far = lengths if length_A is None else np.where(np.isfinite(lengths), np.abs(lengths - length_A), np.inf)
    order = np.argsort(far, axis=None, kind="stable")
    order = order[: int(np.isfinite(lengths).sum())]
    if not 0 <= rank < len(order):
        raise InputError(f"there are {len(order)} {what}; --rank counts them from 0")
    row, column = np.unravel_index(order[rank], lengths.shape)
    return int(row), int(column)


def _between(cell: Cell, sites: _Sites, start: int, end: int) -> Choice:
    """The hop of the Na on one site to another, vacant one."""
    vacant = np.flatnonzero((sites.names == sites.names[end]) & ~sites.held)
    near = np.linalg.norm(separations(cell, sites.places_A[[start]], sites.places_A[vacant])[0], axis=1)
    length = float(near[np.flatnonzero(vacant == end)[0]])
    atom = int(sites.owner[start])
    place = cell.positions_A[[atom]]
    return Choice(atom, start, end, (str(sites.names[start]), str(sites.names[end])), length,
                  int((near < 1.1 * length + 0.05).sum()),
                  place[0] + separations(cell, place, sites.places_A[[end]])[0, 0])  # fmt: skip


def check_kinds(cell: Cell, *kinds: str) -> None:
    """Raises InputError where the cell has no sites of one of these kinds; says which it has."""
    known = set(na_sites(cell)[0].tolist())
    for kind in kinds:
        if kind not in known:
            raise InputError(f"there is no site {kind} in the cell, only {', '.join(sorted(known))}"
                             f"{nearest(kind, known)}")


def _who(sites: _Sites) -> str:
    """How many sites of each kind hold a Na, and how many are vacant, in words."""

    def counted(of: np.ndarray) -> str:
        kinds, counts = np.unique(sites.names[of], return_counts=True)
        return ", ".join(f"{count} {kind}" for kind, count in zip(kinds, counts, strict=True)) or "none"

    return f"Na is on {counted(sites.held)}; vacant are {counted(~sites.held)}"


def _sites(cell: Cell, start: str, end: str) -> _Sites:
    check_kinds(cell, start, end)
    names, places = na_sites(cell)
    ions = np.flatnonzero(cell.symbols == "Na")
    if len(ions) == 0:
        raise InputError("there is no Na in the cell")
    distance = np.linalg.norm(separations(cell, places, cell.positions_A[ions]), axis=2)
    return _Sites(names, places, distance.min(axis=1) < ON_SITE_A, ions[distance.argmin(axis=1)])
