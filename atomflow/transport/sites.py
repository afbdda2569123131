"""Where the ions sit and how often they hop, on the named sites of the crystal.

Sites come from the cell's provenance: ``na_sites = {"names": [...], "fractional": [[...], ...]}``, all sites of the
cell, occupied or not. Each ion belongs to the nearest site (periodic images counted). It has hopped once it has stayed
on another site for ``residence_ps``; a shorter visit is a recrossing and counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.spatial

from atomflow.errors import InputError
from atomflow.transport.displacement import Displacements

_RESIDENCE_PS = 0.2


@dataclass(frozen=True)
class SiteStatistics:
    """Occupancies and hops.

    Attributes:
        names: the kinds of site. n_sites: of each kind in the cell.
        occupancy: ions per site of each kind, averaged over time.
        hops: {(from, to): count} of settled hops between kinds.
        hop_rate_per_ion_per_ps: all hops. mean_residence_ps: {kind: mean time between arriving and leaving}.
        mean_hop_A: mean distance between the sites of a hop. recrossings: visits too short to count.
        residence_ps: the criterion. site_of: (F, n) index of the settled site of each ion.
    """

    names: tuple[str, ...]
    n_sites: dict[str, int]
    occupancy: dict[str, float]
    hops: dict[tuple[str, str], int]
    hop_rate_per_ion_per_ps: float
    mean_residence_ps: dict[str, float | None]
    mean_hop_A: float | None
    recrossings: int
    residence_ps: float
    site_of: np.ndarray

    def to_json(self) -> dict[str, Any]:
        hops = [{"from": a, "to": b, "count": count} for (a, b), count in sorted(self.hops.items())]
        return {"names": list(self.names), "n_sites": self.n_sites, "occupancy": self.occupancy, "hops": hops,
                "hop_rate_per_ion_per_ps": self.hop_rate_per_ion_per_ps, "mean_residence_ps": self.mean_residence_ps,
                "mean_hop_A": self.mean_hop_A, "recrossings": self.recrossings, "residence_ps": self.residence_ps}

    def text(self) -> str:
        from atomflow.plain import table

        def ps(name: str) -> str:
            time = self.mean_residence_ps[name]
            return "-" if time is None else f"{time:.3g}"

        rows = [[name, str(self.n_sites[name]), f"{self.occupancy[name]:.3f}", ps(name)] for name in self.names]
        lines = [table(rows, ["site", "in the cell", "occupancy", "residence/ps"])]
        total = sum(self.hops.values())
        length = "" if self.mean_hop_A is None else f", {self.mean_hop_A:.2f} Å each"
        lines.append(f"{total} hops, {self.hop_rate_per_ion_per_ps:.3g} per ion and ps{length}; "
                     f"{self.recrossings} visits under {self.residence_ps:g} ps not counted")
        lines += [f"  {a} → {b}: {count}" for (a, b), count in sorted(self.hops.items())]
        return "\n".join(lines)


def named_sites(cell: dict[str, Any], key: str = "na_sites") -> tuple[list[str], np.ndarray]:
    """(names, fractional (m, 3)) from a cell summary.

    Raises:
        InputError: the cell does not name its sites, or names and places do not match.
    """
    found = (cell.get("provenance") or {}).get(key)
    if not isinstance(found, dict) or not {"names", "fractional"} <= set(found):
        raise InputError(f"the cell of this run names no sites (provenance '{key}'); "
                         "build it with atomflow build nzsp, or leave --sites away")
    names, fractional = [str(name) for name in found["names"]], np.asarray(found["fractional"], dtype=np.float64)
    if fractional.shape != (len(names), 3) or not names:
        raise InputError(f"the cell's '{key}' has {len(names)} names and places of shape {fractional.shape}")
    return names, fractional


def site_statistics(
    trajectory: Any,
    species: str = "Na",
    discard_ps: float = 0.0,
    framework: str | Sequence[str] = "auto",
    memory_MB: float = 500.0,
    residence_ps: float = _RESIDENCE_PS,
) -> SiteStatistics:
    """Assign every ion of every frame to a named site; count settled hops."""
    names, fractional = named_sites(trajectory.cell_summary or {})
    moving = Displacements(trajectory, species, discard_ps, framework, memory_MB)
    nearest = _nearest_sites(moving, fractional)
    hold = max(1, round(residence_ps / moving.interval_ps))
    settled, recrossings = _settle(nearest, hold)
    return _count(settled, recrossings, names, fractional, moving, residence_ps)


def _nearest_sites(moving: Displacements, fractional: np.ndarray) -> np.ndarray:
    """(F, n) index of the nearest site, all periodic images of the sites counted."""
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    images = (fractional % 1.0)[:, None, :] + shifts
    tree = scipy.spatial.cKDTree(images.reshape(-1, 3) @ moving.lattice_A)
    inverse = np.linalg.inv(moving.lattice_A)
    result = np.empty((moving.n_frames, moving.n_ions), dtype=np.int32)
    step = max(1, int(0.1 * moving.memory_bytes / (24 * max(1, len(moving.trajectory.symbols)))))
    for start in range(0, moving.n_frames, step):
        stop = min(start + step, moving.n_frames)
        inside = (moving.positions_A(start, stop) @ inverse) % 1.0
        result[start:stop] = tree.query(inside @ moving.lattice_A)[1] // len(shifts)
    return result


def _settle(nearest: np.ndarray, hold: int) -> tuple[np.ndarray, int]:
    """(F, n) site on which each ion is settled: a stay of at least ``hold`` frames; and the visits that were not."""
    frames, n = nearest.shape
    settled = np.empty_like(nearest)
    recrossings = 0
    for ion in range(n):
        path = nearest[:, ion]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(path)) + 1, [frames]])
        lengths = np.diff(starts)
        long = lengths >= hold
        where = np.flatnonzero(long)
        if len(where) == 0:  # never at rest: the most visited site
            settled[:, ion] = np.bincount(path).argmax()
            recrossings += len(lengths) - 1
            continue
        recrossings += int((~long[where[0] : where[-1] + 1]).sum())
        previous = np.maximum.accumulate(np.where(long, np.arange(len(long)), where[0]))
        previous = np.maximum(previous, where[0])
        settled[:, ion] = np.repeat(path[starts[:-1]][previous], lengths)
    return settled, recrossings


def _count(
    settled: np.ndarray, recrossings: int, names: list[str], fractional: np.ndarray, moving: Displacements,
    residence_ps: float,
) -> SiteStatistics:
    kinds = tuple(dict.fromkeys(names))
    n_sites = dict(Counter(names))
    visits = np.bincount(settled.ravel(), minlength=len(names)) / len(settled)
    occupancy = {kind: float(sum(v for v, name in zip(visits, names, strict=True) if name == kind) / n_sites[kind])
                 for kind in kinds}
    hops: Counter[tuple[str, str]] = Counter()
    stays: dict[str, list[int]] = {kind: [] for kind in kinds}
    lengths = []
    for path in settled.T:
        moved = np.flatnonzero(np.diff(path)) + 1
        for frame in moved:
            a, b = int(path[frame - 1]), int(path[frame])
            hops[names[a], names[b]] += 1
            lengths.append(_distance(fractional[b] - fractional[a], moving.lattice_A))
        for first, last in pairwise(moved):
            stays[names[int(path[first])]].append(int(last - first))
    total = sum(hops.values())
    return SiteStatistics(
        names=kinds,
        n_sites=n_sites,
        occupancy=occupancy,
        hops=dict(hops),
        hop_rate_per_ion_per_ps=total / (moving.n_ions * moving.total_time_ps),
        mean_residence_ps={kind: float(np.mean(times)) * moving.interval_ps if times else None
                           for kind, times in stays.items()},
        mean_hop_A=float(np.mean(lengths)) if lengths else None,
        recrossings=recrossings,
        residence_ps=residence_ps,
        site_of=settled,
    )


def _distance(fractional: np.ndarray, lattice_A: np.ndarray) -> float:
    """Shortest periodic distance in Å of a fractional difference."""
    near = fractional - np.round(fractional)
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    return float(np.linalg.norm((near + shifts) @ lattice_A, axis=1).min())
