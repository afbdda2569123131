"""After a hot run with sodium metal: what formed, what lost oxygen, who left its region, and whether metal entered.

A potential has no charges, so "was Zr⁴⁺ reduced?" is asked as far as atoms can tell: metal neighbours, oxygen lost,
bonds between cations. Signs of reduction are reported as signs; none seen in a short run is no proof of stability.
Works for any run whose atoms are labelled with two regions or more; what concerns the metal needs the region ``metal``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.blocks import BLOCKS, estimate
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.order.coordination import CUTOFFS_A
from atomflow.order.frames import Source, check_timed, of_what, open_source
from atomflow.order.neighbours import pairs
from atomflow.transport.slabs import AXES, Slab, find_slabs
from atomflow.units import FS_PER_PS

#: Neighbours of metal atoms, pair → distance in Å. In the solid itself Na stays 3.2 Å from Zr, 2.9 Å from Si and P.
NEIGHBOURS_A = {"Na-O": 3.1, "Na-Zr": 3.5, "Na-Zn": 3.4, "Na-B": 3.1, "Na-Si": 3.2, "Na-P": 3.2}
#: Bonds between cations that no oxide has: pair → distance in Å.
CATION_BONDS_A = {"Zr-Zr": 3.4, "Zr-Zn": 3.1, "Zn-Zn": 2.9, "B-B": 2.0, "Si-Si": 2.6, "P-P": 2.4, "Zn-B": 2.4}
#: Oxygen around these is counted; an atom has lost oxygen when its mean over a block falls by half an O or more.
CATIONS = ("Zr", "Zn", "B", "Si", "P")
LOST_O = 0.5
#: An atom is in another region once it is this deep in it, Å.
COMMITTED_A = 1.5
_DEPTH_BIN_A = 1.0
LIMIT = ("a potential has no charges: lost oxygen, metal neighbours and bonds between cations are signs of reduction; "
         "that a short run shows none proves no stability")  # fmt: skip


@dataclass(frozen=True)
class Coordination:
    """Oxygen around one element: mean per block, and how many atoms have lost half an O or more since the first."""

    n_atoms: int
    mean: tuple[Estimate, ...]
    lost: tuple[float, ...]


@dataclass(frozen=True)
class Moved:
    """Atoms of one element from one region that are in another: mean number per block."""

    element: str
    source: str
    target: str
    count: tuple[Estimate, ...]

    def to_json(self) -> dict[str, Any]:
        return {"element": self.element, "from": self.source, "to": self.target, "count": self.count}


@dataclass(frozen=True)
class ContactReport:
    """What formed; see :func:`contact`. Tuples over blocks run in time.

    Attributes:
        of: cell and potential, in a line.
        blocks_ps: (first, last) time of each block.
        neighbours: pair → partners of a metal atom. coordination: element → oxygen around it.
        cation_bonds: pair → number of bonds; pairs never seen are left out.
        moved: who is in a region that it was not built in.
        entered: metal atoms in the solid. left: Na of the solid in the metal. None without metal.
        depth_A, depth_count: metal atoms by depth in the solid in the last block, bins of 1 Å by their lower edge.
        deepest_A: of any metal atom in the last block.
        warnings: what was doubtful in files of other programs.
    """

    sources: tuple[str, ...]
    n_frames: int
    of: str
    blocks_ps: tuple[tuple[float, float], ...]
    slabs: tuple[Slab, ...]
    neighbours: dict[str, tuple[Estimate, ...]]
    coordination: dict[str, Coordination]
    cation_bonds: dict[str, tuple[Estimate, ...]]
    moved: tuple[Moved, ...]
    entered: tuple[Estimate, ...] | None
    left: tuple[Estimate, ...] | None
    depth_A: np.ndarray
    depth_count: np.ndarray
    deepest_A: float | None
    limit: str = LIMIT
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "coordination": {e: c.__dict__ for e, c in self.coordination.items()}}


def contact(
    what: Any, along: str = "z", n_frames: int = 100, discard_ps: float = 0.0,
    cutoffs_A: Mapping[str, float] | None = None, level: float = 0.95,
) -> ContactReport:
    """What formed in a run, or in several replicas of it.

    Args:
        what: run folder, trajectory, or a list of them (replicas).
        along: lattice vector across the regions: x, y or z (a, b or c).
        n_frames: looked at in each, evenly spaced. cutoffs_A: other distances, ``{"Na-O": 3.0, "Zr-O": 2.7}``.

    Raises:
        InputError: one region only, too few frames, or no such direction.
    """  # fmt: skip
    if along not in AXES:
        raise InputError(f"there is no direction {along}: x, y or z (the first, second or third lattice vector)")
    replicas = what if isinstance(what, (list, tuple)) else [what]
    sources = [open_source(item, n_frames, discard_ps) for item in replicas]
    table = {**CUTOFFS_A, **NEIGHBOURS_A, **CATION_BONDS_A, **(cutoffs_A or {})}
    looked = [_look(source, AXES[along], table) for source in sources]
    if len({one["n"] for one in looked}) > 1:
        raise InputError("the replicas differ in length; compare runs of one length, or fewer --frames")
    names = set.intersection(*(set(one["series"]) for one in looked))

    def over(key: str) -> tuple[Estimate, ...]:
        return tuple(estimate([one["series"][key][cut] for one in looked], level) for cut in looked[0]["cuts"])

    def group(kind: str) -> list[str]:
        return sorted(key for key in names if key.startswith(kind + " "))

    moved = []
    every = sorted(set.union(*(set(one["moves"]) for one in looked)))
    for element, source, target in every:
        per = [one["moves"].get((element, source, target), np.zeros(one["n"])) for one in looked]
        moved.append(Moved(element, source, target, tuple(estimate([series[cut] for series in per], level)
                                                          for cut in looked[0]["cuts"])))  # fmt: skip
    seen = {key: over(key) for key in group("bond")}
    has_metal = "metal entered" in names
    depths = np.sum([one["depth_count"] for one in looked], axis=0) / len(looked)
    return ContactReport(
        tuple(source.name for source in sources), sum(len(source.chosen) for source in sources), of_what(sources),
        looked[0]["times"], looked[0]["slabs"],
        {key.split()[1]: over(key) for key in group("near")},
        {key.split()[1]: Coordination(looked[0]["n_of"][key.split()[1]], over(key),
                                      tuple(np.mean([one["lost"][key.split()[1]] for one in looked], axis=0).tolist()))
         for key in group("oxygen")},
        {key.split()[1]: value for key, value in seen.items() if any(e.value for e in value)},
        tuple(moved), over("metal entered") if has_metal else None, over("metal left") if has_metal else None,
        _DEPTH_BIN_A * np.arange(len(depths)), depths,
        max(one["deepest"] for one in looked) if has_metal else None,
        warnings=tuple(text for source in sources for text in source.warnings),
    )  # fmt: skip


def _look(source: Source, axis: int, cutoffs_A: Mapping[str, float]) -> dict[str, Any]:
    """Every series of one replica."""
    regions, symbols = source.regions, source.symbols
    if len(set(regions.tolist())) < 2:
        raise InputError(f"{source.name}: every atom is in region {regions[0]}; builders label contacts and boundaries")
    n = len(source.chosen)
    if n < BLOCKS:
        raise InputError(f"{source.name}: {n} frame(s), but at least {BLOCKS} are needed to see a change")
    check_timed(source.content, "when what happened")
    cuts = [np.arange(n)[cut] for cut in np.array_split(np.arange(n), BLOCKS)]
    near = [pair for pair in NEIGHBOURS_A if "metal" in regions and pair.split("-")[1] in symbols]
    bonds = [pair for pair in CATION_BONDS_A if set(pair.split("-")) <= set(symbols.tolist())]
    elements = [element for element in CATIONS if element in symbols and "O" in symbols]
    series = {f"near {pair}": np.zeros(n) for pair in near} | {f"bond {pair}": np.zeros(n) for pair in bonds}
    around: dict[str, np.ndarray] = {element: np.zeros((n, int((symbols == element).sum()))) for element in elements}
    places, height = _places(source, axis)
    metal = regions == "metal"
    for frame, (positions, lattice) in enumerate(source.frames()):
        for pair in near:
            found = pairs(positions, lattice, metal, (symbols == pair.split("-")[1]) & ~metal, cutoffs_A[pair])
            series[f"near {pair}"][frame] = len(found.first) / metal.sum()
        for pair in bonds:
            a, b = pair.split("-")
            found = pairs(positions, lattice, symbols == a, symbols == b, cutoffs_A[pair])
            series[f"bond {pair}"][frame] = len(found.first) / (2 if a == b else 1)
        for element in elements:
            found = pairs(positions, lattice, symbols == element, symbols == "O", cutoffs_A[f"{element}-O"])
            counts = np.bincount(found.first, minlength=len(symbols))
            around[element][frame] = counts[symbols == element]
    lost = {}
    for element, counts in around.items():
        series[f"oxygen {element}"] = counts.mean(axis=1)
        first = counts[cuts[0]].mean(axis=0)
        lost[element] = [float((first - counts[cut].mean(axis=0) >= LOST_O).sum()) for cut in cuts]
    slabs = _slabs(places[0], regions, symbols, height)
    names = np.array([slab.region for slab in slabs])
    inside, depth = _inside(places, slabs, height)
    there = np.where(depth >= COMMITTED_A, names[inside], regions[None])
    moves = _moves(there, regions, symbols)
    result: dict[str, Any] = {
        "series": series, "lost": lost, "moves": moves, "slabs": slabs, "cuts": cuts, "n": n,
        "times": _times(source, cuts), "n_of": {e: int((symbols == e).sum()) for e in elements},
        "depth_count": np.zeros(int(np.ceil(height / _DEPTH_BIN_A))), "deepest": 0.0,
    }  # fmt: skip
    if metal.any():
        far = _beyond_metal(places[:, metal], slabs, height)
        series["metal entered"] = (far >= COMMITTED_A).sum(axis=1).astype(float)
        series["metal left"] = ((there == "metal") & ~metal & (symbols == "Na")).sum(axis=1).astype(float)
        last = far[cuts[-1]]
        inside_solid = last[last > 0]
        result["depth_count"] = np.bincount((inside_solid / _DEPTH_BIN_A).astype(int),
                                            minlength=len(result["depth_count"])) / len(last)  # fmt: skip
        result["deepest"] = float(last.max())
    return result


def _places(source: Source, axis: int) -> tuple[np.ndarray, float]:
    """(F, N) places along the axis as fractions, the drift of the solid's framework taken off; and the mean height."""
    from ase.data import atomic_masses, atomic_numbers

    masses = np.array([atomic_masses[atomic_numbers[str(symbol)]] for symbol in source.symbols])
    solid = (source.regions != "metal") & (source.symbols != "Na")
    weights = np.where(solid if solid.any() else np.ones(len(masses), dtype=bool), masses, 0.0)
    weights /= weights.sum()
    rows, heights = [], []
    for positions, lattice in source.frames():
        inverse = np.linalg.inv(lattice)
        rows.append(positions @ inverse[:, axis])
        heights.append(1.0 / np.linalg.norm(inverse[:, axis]))
    places = np.array(rows)
    moved = places - places[0]
    return places - ((moved - np.round(moved)) @ weights)[:, None], float(np.mean(heights))  # wrapped frames too


def _slabs(place: np.ndarray, regions: np.ndarray, symbols: np.ndarray, height_A: float) -> tuple[Slab, ...]:
    """Where each region is at the start, by its framework; metal, and a region of Na alone, by its own atoms."""
    framed = {name for name in set(regions.tolist()) if name != "metal" and (symbols[regions == name] != "Na").any()}
    votes = np.where(np.isin(regions, list(framed)), symbols != "Na", True)
    return find_slabs(place[votes], regions[votes], height_A)


def _inside(places: np.ndarray, slabs: Sequence[Slab], height_A: float) -> tuple[np.ndarray, np.ndarray]:
    """(F, N) index of the slab that each atom is in, and its distance from the nearer edge, Å."""
    index, depth = np.zeros(places.shape, dtype=int), np.full(places.shape, -1.0)
    for k, slab in enumerate(slabs):
        above = (places - slab.low) % 1.0
        width = slab.high - slab.low
        here = above < width
        index[here] = k
        depth[here] = (np.minimum(above, width - above) * height_A)[here]
    return index, depth


def _beyond_metal(places: np.ndarray, slabs: Sequence[Slab], height_A: float) -> np.ndarray:
    """(F, n) distance of metal atoms from the nearest slab of metal, Å; 0 inside one."""
    away = []
    for slab in (slab for slab in slabs if slab.region == "metal"):
        above = (places - slab.low) % 1.0
        width = slab.high - slab.low
        away.append(np.where(above < width, 0.0, np.minimum(above - width, 1.0 - above)) * height_A)
    return np.min(away, axis=0) if away else np.zeros(places.shape)


def _moves(there: np.ndarray, regions: np.ndarray, symbols: np.ndarray) -> dict[tuple[str, str, str], np.ndarray]:
    """(element, from, to) → (F,) how many."""
    found: dict[tuple[str, str, str], np.ndarray] = {}
    away = there != regions[None]
    for atom in np.flatnonzero(away.any(axis=0)):
        for target in set(there[away[:, atom], atom].tolist()):
            key = (str(symbols[atom]), str(regions[atom]), str(target))
            found[key] = found.get(key, np.zeros(len(there))) + (there[:, atom] == target)
    return found


def _times(source: Source, cuts: Sequence[np.ndarray]) -> tuple[tuple[float, float], ...]:
    scale = float(source.content.frame_interval_fs) / FS_PER_PS
    return tuple((source.chosen[cut[0]] * scale, source.chosen[cut[-1]] * scale) for cut in cuts)


def text(found: ContactReport) -> str:
    """For people: first and last block of everything, and the limit."""
    from atomflow.plain import table

    first, last = found.blocks_ps[0], found.blocks_ps[-1]
    lines = [f"{found.n_frames} frames of {len(found.sources)} run(s); first block {first[0]:.3g}-{first[1]:.3g} ps, "
             f"last {last[0]:.3g}-{last[1]:.3g} ps", f"of {found.of}"]  # fmt: skip
    rows = [[f"{pair} per metal atom", f"{e[0]:.3g}", f"{e[-1]:.3g}", "-"] for pair, e in found.neighbours.items()]
    rows += [[f"O around {element}", f"{c.mean[0]:.3g}", f"{c.mean[-1]:.3g}", f"{c.lost[-1]:g} of {c.n_atoms}"]
             for element, c in found.coordination.items()]  # fmt: skip
    rows += [[f"{pair} bonds", f"{e[0]:.3g}", f"{e[-1]:.3g}", "-"] for pair, e in found.cation_bonds.items()]
    rows += [[f"{m.element} of {m.source} in {m.target}", f"{m.count[0]:.3g}", f"{m.count[-1]:.3g}", "-"]
             for m in found.moved]  # fmt: skip
    if found.entered is not None and found.left is not None:
        rows.append(["metal atoms in the solid", f"{found.entered[0]:.3g}", f"{found.entered[-1]:.3g}", "-"])
        rows.append(["Na of the solid in the metal", f"{found.left[0]:.3g}", f"{found.left[-1]:.3g}", "-"])
    lines.append(table(rows, ["", "first block", "last block", "lost O"]))
    if not found.cation_bonds:
        lines.append("no bonds between cations were seen")
    if found.deepest_A is not None:
        lines.append(f"deepest metal atom: {found.deepest_A:.1f} Å beyond the metal's edge")
    return "\n".join([*lines, f"limit: {found.limit}", *(f"warning: {text}" for text in found.warnings)])
