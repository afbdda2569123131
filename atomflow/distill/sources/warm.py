"""Cells brought to a temperature, and the hops that their ions make there: what moves beside the ion moves too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.distill import decorate
from atomflow.distill.sources.config import Framework, Warm
from atomflow.distill.sources.dynamics import trajectory_frames
from atomflow.distill.sources.stream import Start

#: What is kept of dynamics before and after a passage, fs: by then the ion has fallen into its new site.
_AROUND_FS = 120.0
_FRICTION_PER_FS = 0.01
_DESCENT_STEPS = 10


@dataclass(frozen=True, eq=False)
class Passage:
    """An ion on its way to another site: (looks, N, 3) positions, the decoration at the first and at the last."""

    looks_A: np.ndarray
    before: np.ndarray
    after: np.ndarray
    ion: int


def walked(warm: Warm, start: Start, calculator: Any, temperature_K: float, seed: int) -> np.ndarray | None:
    """(looks, N, 3) positions of dynamics that begins at ``start``; None where it was given up."""
    import ase

    atoms = ase.Atoms(list(start.symbols), positions=start.positions_A, cell=start.lattice_A, pbc=True)
    gap = max(1, round(warm.look_every_fs / warm.timestep_fs))
    looks = max(2, round(1000 * warm.time_ps / (gap * warm.timestep_fs)))
    seen = list(trajectory_frames(atoms, calculator, temperature_K, (gap,) * looks, warm.timestep_fs, _FRICTION_PER_FS,
                                  _DESCENT_STEPS, seed))
    return np.array([positions for positions, *_ in seen]) if len(seen) == looks and seen[-1][2] else None


def passage(
    warm: Warm, looks_A: np.ndarray, lattice_A: np.ndarray, framework: Framework, occupied: np.ndarray
) -> Passage | None:
    """The first ion that leaves its site for good, from shortly before to shortly after; None where all stay.

    Args:
        looks_A: (looks, N, 3), not wrapped.
        occupied: the decoration that dynamics began with; what is no Na stays on its site.
    """
    symbols = occupied[occupied != ""]
    sodium = np.flatnonzero(symbols == "Na")
    sites = np.array([nearest_sites(framework, positions[sodium], lattice_A) for positions in looks_A])
    gone = np.flatnonzero(sites[0] != sites[-1])
    if not len(gone):
        return None
    leaves = [int(np.flatnonzero(sites[:, k] == sites[0, k]).max()) for k in gone]
    which, at = int(gone[np.argmin(leaves)]), min(leaves)
    around = max(1, round(_AROUND_FS / warm.look_every_fs))
    first, last = max(0, at - around), min(len(looks_A) - 1, at + 1 + around)
    crowded = any(len(set(sites[k])) < len(sodium) for k in (first, last))
    if crowded or sites[first, which] != sites[0, which]:
        return None
    before, after = (_with_sodium(framework, occupied, sites[k]) for k in (first, last))
    return Passage(looks_A[first : last + 1], before, after, int(sodium[which]))


def nearest_sites(framework: Framework, positions_A: np.ndarray, lattice_A: np.ndarray) -> np.ndarray:
    """(n,) the Na site of the framework that each of so many positions is nearest to, in a strained lattice."""
    labels, sites, full = decorate.sites(framework)
    where = np.flatnonzero(labels == "Na")
    apart = (positions_A @ np.linalg.inv(lattice_A))[:, None] - (sites[where] @ np.linalg.inv(full))[None]
    return where[np.linalg.norm((apart - np.round(apart)) @ lattice_A, axis=2).argmin(axis=1)]


def settled(positions_A: np.ndarray, lattice_A: np.ndarray, framework: Framework, occupied: np.ndarray) -> bool:
    """Whether every ion is at the site where the decoration has it."""
    sodium = np.flatnonzero(occupied[occupied != ""] == "Na")
    return bool((nearest_sites(framework, positions_A[sodium], lattice_A) == np.flatnonzero(occupied == "Na")).all())


def _with_sodium(framework: Framework, occupied: np.ndarray, sites: np.ndarray) -> np.ndarray:
    changed = np.where(decorate.sites(framework)[0] == "Na", "", occupied)
    changed[sites] = "Na"
    return changed
