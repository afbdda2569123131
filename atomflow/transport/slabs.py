"""Regions as slabs along one direction of the cell: where each ion is, measured from the framework that moves with it.

A region is known from the labels of its framework atoms (every species that is not mobile). A region without framework,
such as sodium metal, is known from its own mobile atoms at the start. A place belongs to the region whose atoms are
nearest (Gaussian votes of 1 Å); slivers thinner than 1.5 Å go to a neighbour. Edges move with the mean drift of the
frameworks on their two sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.transport.displacement import Displacements, masses_amu

AXES = {"x": 0, "y": 1, "z": 2}
_VOTE_A = 1.0
_THINNEST_A = 1.5
#: Share of the atoms that must lie in a slab of their own region.
_ORDERLY = 0.75


@dataclass(frozen=True)
class Slab:
    """One slab: fractions ``low`` to ``high`` of the cell along the axis (``high`` may exceed 1: it wraps)."""

    region: str
    low: float
    high: float


@dataclass(frozen=True)
class RegionPaths:
    """Ions of one run with the slab that each is in.

    Attributes:
        slabs: along the axis. regions: their names, each once.
        interval_ps: time between the frames kept, every ``stride``-th of the run.
        height_A: of the cell perpendicular to the boundary planes. area_A2: of the planes.
        ions_A: (F, n, 3) unwrapped positions in a frame whose first two axes lie in the plane and whose third is the
            normal; the drift is still in them.
        drift_A: {region: (F, 3)} drift of the region's framework in that frame. reference: {region: words}.
        inside: (F, n) index of the slab. depth_A: (F, n) distance to the nearer edge of that slab.
        place: (F, n) fraction of the height, 0 to 1, the drift of the whole framework taken off.
    """

    slabs: tuple[Slab, ...]
    interval_ps: float
    stride: int
    height_A: float
    area_A2: float
    ions_A: np.ndarray
    drift_A: dict[str, np.ndarray]
    reference: dict[str, str]
    inside: np.ndarray
    depth_A: np.ndarray
    place: np.ndarray

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(slab.region for slab in self.slabs))

    def width_A(self, region: str) -> float:
        """Width of the region: all its slabs together."""
        return sum(slab.high - slab.low for slab in self.slabs if slab.region == region) * self.height_A

    def slab_width_A(self, region: str) -> float:
        """Width of its narrowest slab."""
        return min(slab.high - slab.low for slab in self.slabs if slab.region == region) * self.height_A

    def in_region(self, region: str) -> np.ndarray:
        """(F, n) mask."""
        chosen = [index for index, slab in enumerate(self.slabs) if slab.region == region]
        return np.isin(self.inside, chosen)


def find_slabs(place: np.ndarray, labels: np.ndarray, height_A: float) -> tuple[Slab, ...]:
    """Slabs from the places (n,), fractions of the height, of labelled atoms (n,)."""
    names = sorted({str(label) for label in labels})
    bins = max(20, int(np.ceil(height_A / 0.1)))
    centres = (np.arange(bins) + 0.5) / bins
    votes = np.zeros((len(names), bins))
    for row, name in enumerate(names):
        away = centres[:, None] - place[labels == name] % 1.0
        away = (away - np.round(away)) * height_A
        votes[row] = np.logaddexp.reduce(-0.5 * (away / _VOTE_A) ** 2, axis=1)
    winner = votes.argmax(axis=0)
    while True:
        starts = np.flatnonzero(winner != np.roll(winner, 1))
        if len(starts) == 0:
            return (Slab(names[int(winner[0])], 0.0, 1.0),)
        lengths = np.diff(np.append(starts, starts[0] + bins))
        if len(starts) <= 2 or lengths.min() * height_A / bins >= _THINNEST_A:
            break
        thin = int(lengths.argmin())
        after = (thin + 1) % len(starts)
        heir = winner[starts[after if lengths[after] > lengths[thin - 1] else thin - 1]]
        winner[(starts[thin] + np.arange(lengths[thin])) % bins] = heir
    return tuple(Slab(names[int(winner[start])], start / bins, (start + length) / bins)
                 for start, length in zip(starts, lengths, strict=True))


def check_direction(along: str) -> None:
    """Raise :class:`InputError` unless ``along`` names an axis."""
    if along not in AXES:
        raise InputError(f"there is no direction {along}: x, y or z (the first, second or third lattice vector)")


def region_paths(
    trajectory: Any, species: str = "Na", along: str = "z", discard_ps: float = 0.0, memory_MB: float = 500.0,
    stride: int = 1,
) -> RegionPaths:
    """Read a run once more, with the region of every ion in every frame.

    ``along`` names the lattice vector that leaves the boundary plane: x is a, y is b, z is c. A run whose ions do not
    fit the memory is thinned to every second, third, ... frame, at least to every ``stride``-th.

    Raises:
        InputError: no such axis or species, or only one region.
    """
    check_direction(along)
    moving = Displacements(trajectory, species, discard_ps, framework="none", memory_MB=memory_MB)
    labels = np.asarray(trajectory.regions)
    if len(set(labels.tolist())) < 2:
        raise InputError(f"{trajectory.source}: every atom is in region {labels[0]}: there is nothing to resolve by "
                         "region; boundaries, films and contacts are labelled by their builders")
    stride = max(stride, int(np.ceil(moving.n_frames * moving.n_ions * 57.0 / (0.5 * memory_MB * 1e6))))
    rows = np.arange(0, moving.n_frames, stride)
    rotation, height, area = _frame_of(moving.lattice_A, AXES[along])
    weights, reference = _weights(np.asarray(trajectory.symbols), labels, moving.ions)
    ions, drift, first = _read(moving, rows, weights)
    slabs = _slabs(moving, labels, first, rotation, height)
    names = tuple(dict.fromkeys(slab.region for slab in slabs))
    cell_drift = drift[-1] @ rotation.T
    drifts = {name: (drift[list(reference).index(name)] if name in reference else drift[-1]) @ rotation.T
              for name in names}
    words = {name: reference.get(name, "the centre of mass of the cell (the region has no framework)")
             for name in names}
    paths = ions @ rotation.T
    inside, depth = _inside(paths[..., 2] / height, slabs, drifts, set(reference), height)
    frame_drift = next((drifts[name] for name in names if name in reference), cell_drift)
    place = (paths[..., 2] - frame_drift[:, None, 2]) / height % 1.0
    return RegionPaths(slabs, moving.interval_ps * stride, stride, height, area, paths, drifts, words, inside, depth,
                       place)


def pooled_paths(
    trajectories: Sequence[Any], species: str = "Na", along: str = "z", discard_ps: float = 0.0,
    memory_MB: float = 500.0,
) -> list[RegionPaths]:
    """The paths of seeds of one run, at one frame interval.

    Raises:
        InputError: as :func:`region_paths`, or runs that are not seeds of one run.
    """
    share, stride, paths = memory_MB / len(trajectories), 1, []
    for trajectory in trajectories:
        paths.append(region_paths(trajectory, species, along, discard_ps, share, stride))
        stride = max(stride, paths[-1].stride)
    paths = [one if one.stride == stride else region_paths(trajectory, species, along, discard_ps, share, stride)
             for one, trajectory in zip(paths, trajectories, strict=True)]
    first, source = paths[0], trajectories[0].source
    for one, trajectory in zip(paths[1:], trajectories[1:], strict=True):
        why = ("hold different cells" if trajectory.n_atoms != trajectories[0].n_atoms
               or one.ions_A.shape[1] != first.ions_A.shape[1]
               else "have different frame intervals" if abs(one.interval_ps / first.interval_ps - 1.0) > 1e-6
               else "have different slabs" if Counter(s.region for s in one.slabs) != Counter(
                   s.region for s in first.slabs) else "")
        if why:
            raise InputError(f"{source} and {trajectory.source} {why}; pool only seeds of one run")
    return paths


def _frame_of(lattice_A: np.ndarray, axis: int) -> tuple[np.ndarray, float, float]:
    """(3, 3) rows: two directions in the plane and the normal; height and area of the cell."""
    a, b = (lattice_A[i] for i in range(3) if i != axis)
    normal = np.cross(a, b)
    area = float(np.linalg.norm(normal))
    normal = normal / area * np.sign(normal @ lattice_A[axis])
    first = a / np.linalg.norm(a)
    return np.array([first, np.cross(normal, first), normal]), float(lattice_A[axis] @ normal), area


def _weights(symbols: np.ndarray, labels: np.ndarray, ions: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """(R + 1, N) rows of masses that define the rest of each region with framework, last the whole cell."""
    masses, still = masses_amu(symbols), np.ones(len(symbols), dtype=bool)
    still[ions] = False
    rows, words = [], {}
    for name in sorted(set(labels[still].tolist())):
        rows.append(np.where(still & (labels == name), masses, 0.0))
        words[name] = f"its own framework ({int((still & (labels == name)).sum())} atoms), mass-weighted"
    rows.append(masses)
    return np.array([row / row.sum() for row in rows]), words


def _read(moving: Displacements, rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ions (F, n, 3), drifts (R + 1, F, 3), and all atoms' mean positions (N, 3) over the first twentieth."""
    trajectory = moving.trajectory
    offset = int(trajectory.n_frames) - moving.n_frames
    ions = np.empty((len(rows), moving.n_ions, 3))
    centre = np.empty((len(weights), len(rows), 3))
    settled = max(1, len(rows) // 20)
    mean = np.zeros((trajectory.n_atoms, 3))
    for index, row in enumerate(rows):
        everything = np.asarray(trajectory.positions_A(offset + row, offset + row + 1), dtype=np.float64)[0]
        ions[index] = everything[moving.ions]
        centre[:, index] = weights @ everything
        if index < settled:
            mean += everything / settled
    return ions, centre - centre[:, :1], mean


def _slabs(moving: Displacements, labels: np.ndarray, first: np.ndarray, rotation: np.ndarray, height: float,
           ) -> tuple[Slab, ...]:
    mobile = np.zeros(len(labels), dtype=bool)
    mobile[moving.ions] = True
    voters = ~mobile
    for name in set(labels.tolist()) - set(labels[~mobile].tolist()):
        voters |= labels == name  # no framework: its mobile atoms, where they began
    place = (first[voters] @ rotation[2]) / height
    slabs = find_slabs(place, labels[voters], height)
    own = np.array([any(s.region == name and (x - s.low) % 1.0 < s.high - s.low for s in slabs)
                    for x, name in zip(place, labels[voters], strict=True)])
    if len(slabs) < 2 or own.mean() < _ORDERLY:
        raise InputError(f"{moving.trajectory.source}: the regions do not follow one another in this direction "
                         f"({100 * own.mean():.0f} % of the framework lie in a slab of their region); choose another "
                         "with --along, or build grains thicker than the region between them (build boundary --width)")
    return slabs


def _inside(
    place: np.ndarray, slabs: tuple[Slab, ...], drifts: dict[str, np.ndarray], framed: set[str], height: float
) -> tuple[np.ndarray, np.ndarray]:
    """(F, n) slab of each ion and its distance to the nearer edge in Å, edges moving with their frameworks."""
    moved = []
    for k, slab in enumerate(slabs):  # the edge at the low end of slab k
        sides = [drifts[name][:, 2] for name in (slabs[k - 1].region, slab.region) if name in framed]
        moved.append(np.mean(sides, axis=0) / height if sides else np.zeros(len(place)))
    inside = np.zeros(place.shape, dtype=np.int8)
    depth = np.zeros(place.shape)
    for k, slab in enumerate(slabs):
        low = slab.low + moved[k]
        width = slab.high + moved[(k + 1) % len(slabs)] - low
        above = (place - low[:, None]) % 1.0
        here = above < width[:, None]
        inside[here] = k
        depth = np.where(here, np.minimum(above, width[:, None] - above) * height, depth)
    return inside, depth
