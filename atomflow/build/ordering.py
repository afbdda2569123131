"""Seeded random orderings: which Na sites are filled, which T hold Si, which Zr sites hold Zn.

Na is drawn as a lattice gas with hard cores. Sites closer than ``MIN_NA_NA_A`` never hold Na together, each kind of
site has an activity z, and the number of Na is fixed: P(configuration) ∝ ∏ z. It is sampled by Metropolis moves of one
Na at a time from a filling of Na1/M1 and the sites between them, which are all far enough apart to be full at once.
So a draw never fails for a composition that fits, whatever the count.

The activities reproduce the occupancies of the crystal refinements at x = 2:
monoclinic (Hong): Na1 full, Na2 and Na3 alike, mid empty; rhombohedral (Boilot, 443 K): M1 0.36, M2 0.67, mid 0.11.
Si and P are drawn alike on all T sites: Boilot's single crystal has Si 2/3 P 1/3 on its one T site, and Hong's split
(Si on 8f, P on 4e) was an assumption, not a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow.build.composition import Counts
from atomflow.build.template import Template
from atomflow.errors import InputError

#: Na on two sites nearer than this is not allowed (1.75, 1.88, 1.93 and 2.93 Å pairs; the next distance is 3.44 Å).
MIN_NA_NA_A = 3.0
#: ln z of each kind of Na site (see the module's text).
LOG_ACTIVITY = {
    "monoclinic": {"Na1": 30.0, "Na2": 0.0, "Na3": 0.0, "mid": -100.0},
    "rhombohedral": {"M1": -0.30, "M2": 0.0, "mid": -0.57},
}
SWEEPS = 60


@dataclass(frozen=True, eq=False)
class Ordering:
    """One decision on every site of a template: boolean arrays over its Na, T and Zr sites."""

    na_filled: np.ndarray
    t_is_si: np.ndarray
    zr_is_zn: np.ndarray


def random_ordering(template: Template, counts: Counts, rng: np.random.Generator) -> Ordering:
    """A random ordering with the given counts; see the module's text for the distribution."""
    log_activity = np.array([LOG_ACTIVITY[template.phase][str(name)] for name in template.na_names])
    conflicts = close_pairs(template.na, template.lattice_A, MIN_NA_NA_A)
    filled = start_filling(template.na_names, counts.na, log_activity, rng)
    return Ordering(
        _hard_core_gas(filled, conflicts, log_activity, rng),
        _choose(len(template.t), counts.si, rng),
        _choose(len(template.zr), counts.zn, rng),
    )


def start_filling(names: np.ndarray, count: int, log_activity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``count`` Na on the sites that may all be full at once (every kind but ``mid``), likelier where z is larger."""
    allowed = np.flatnonzero(names != "mid")
    if count > len(allowed):
        raise InputError(f"{count} Na do not fit on the {len(allowed)} Na sites of this cell")
    keys = log_activity[allowed] + rng.gumbel(size=len(allowed))
    filled = np.zeros(len(names), dtype=bool)
    filled[allowed[np.argsort(-keys)[:count]]] = True
    return filled


def close_pairs(fractional: np.ndarray, lattice_A: np.ndarray, distance_A: float) -> np.ndarray:
    """(n, n) True where two different sites come nearer than ``distance_A`` through any periodic image."""
    from ase.geometry import minkowski_reduce

    reduced, transform = minkowski_reduce(lattice_A)
    f = fractional @ np.linalg.inv(transform.astype(float))
    difference = f[:, None] - f[None]
    difference -= np.round(difference)
    images = np.array(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij")).reshape(3, -1).T
    nearest2 = np.full(difference.shape[:2], np.inf)
    for image in images:
        nearest2 = np.minimum(nearest2, (((difference + image) @ reduced) ** 2).sum(-1))
    close = nearest2 < distance_A**2
    np.fill_diagonal(close, False)
    return close


def _hard_core_gas(
    filled: np.ndarray, conflicts: np.ndarray, log_activity: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Metropolis moves of single Na between sites, detailed balance for P ∝ ∏ z over allowed configurations."""
    filled = filled.copy()
    occupied, empty = list(np.flatnonzero(filled)), list(np.flatnonzero(~filled))
    if not occupied or not empty:
        return filled
    neighbours = [np.flatnonzero(row) for row in conflicts]
    blockers = conflicts[:, filled].sum(axis=1)
    trials = SWEEPS * len(filled)
    from_ = rng.integers(len(occupied), size=trials)
    to = rng.integers(len(empty), size=trials)
    chance = np.log(rng.random(trials))
    for i, j, log_u in zip(from_, to, chance, strict=True):
        a, b = occupied[i], empty[j]
        if blockers[b] - conflicts[a, b] > 0 or log_u >= log_activity[b] - log_activity[a]:
            continue
        occupied[i], empty[j] = b, a
        blockers[neighbours[a]] -= 1
        blockers[neighbours[b]] += 1
    filled[:] = False
    filled[occupied] = True
    return filled


def _choose(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[:count]] = True
    return chosen
