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
from itertools import pairwise
from math import comb

import numpy as np
from scipy.sparse import csr_array

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
#: Numbers of Si/P arrangements between which seeds walk through them, how often they may, and Na draws for each.
FEWEST_SHUFFLED, MOST_SHUFFLED = 10, 100_000
MOST_LAPS, DRAWS = 100, 20


@dataclass(frozen=True, eq=False)
class Ordering:
    """One decision on every site of a template: boolean arrays over its Na, T and Zr sites."""

    na_filled: np.ndarray
    t_is_si: np.ndarray
    zr_is_zn: np.ndarray


def random_ordering(template: Template, counts: Counts, seed: int) -> Ordering:
    """The random ordering number ``seed`` with the given counts; see the module's text for the distribution.

    In a small cell chance would repeat orderings (an 80-atom cell has 4,356 at x = 0.5), and a repeated cell is a
    wasted run. So where the Si/P arrangements are few, consecutive seeds walk through all of them in a shuffled order,
    and seeds that come back to one draw their Na until it differs from the earlier ones.
    """
    log_activity = np.array([LOG_ACTIVITY[template.phase][str(name)] for name in template.na_names])
    conflicts = close_pairs(template.na, template.lattice_A, MIN_NA_NA_A)

    def draw_na(rng: np.random.Generator) -> np.ndarray:
        filled = start_filling(template.na_names, counts.na, log_activity, rng)
        return _hard_core_gas(filled, conflicts, log_activity, rng)

    n_t, n_zr = len(template.t), len(template.zr)
    arrangements = comb(n_t, counts.si)
    if not FEWEST_SHUFFLED <= arrangements <= MOST_SHUFFLED or seed // arrangements > MOST_LAPS:
        rng = np.random.default_rng(seed)
        return Ordering(draw_na(rng), _choose(n_t, counts.si, rng), _choose(n_zr, counts.zn, rng))
    place = np.random.default_rng(arrangements).permutation(arrangements)[seed % arrangements]
    t_is_si = combination(n_t, counts.si, int(place))
    earlier: set[bytes] = set()
    for seed_of_lap in range(seed % arrangements, seed + 1, arrangements):
        rng = np.random.default_rng(seed_of_lap)
        na_filled = draw_na(rng)
        for _ in range(DRAWS):
            if na_filled.tobytes() not in earlier:
                break
            na_filled = draw_na(rng)
        earlier.add(na_filled.tobytes())
    return Ordering(na_filled, t_is_si, _choose(n_zr, counts.zn, rng))


def combination(n: int, k: int, place: int) -> np.ndarray:
    """(n,) boolean with ``k`` True: number ``place`` of all C(n, k), in lexicographic order of the indices."""
    chosen = np.zeros(n, dtype=bool)
    for i in range(n):
        with_i = comb(n - i - 1, k - 1) if k else 0
        if place < with_i:
            chosen[i] = True
            k -= 1
        else:
            place -= with_i
    return chosen


def start_filling(names: np.ndarray, count: int, log_activity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``count`` Na on the sites that may all be full at once (every kind but ``mid``), likelier where z is larger."""
    allowed = np.flatnonzero(names != "mid")
    if count > len(allowed):
        raise InputError(f"{count} Na do not fit on the {len(allowed)} Na sites of this cell")
    keys = log_activity[allowed] + rng.gumbel(size=len(allowed))
    filled = np.zeros(len(names), dtype=bool)
    filled[allowed[np.argsort(-keys)[:count]]] = True
    return filled


def close_pairs(fractional: np.ndarray, lattice_A: np.ndarray, distance_A: float) -> csr_array:
    """(n, n) sparse, 1 where two different sites come nearer than ``distance_A`` through any periodic image."""
    import ase
    from ase.neighborlist import neighbor_list

    n = len(fractional)
    points = ase.Atoms(numbers=np.full(n, 11), scaled_positions=fractional, cell=lattice_A, pbc=True)
    first, second = neighbor_list("ij", points, distance_A)
    pairs = np.unique(np.stack([first, second])[:, first != second], axis=1)
    return csr_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(n, n))


def _hard_core_gas(
    filled: np.ndarray, conflicts: csr_array, log_activity: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Metropolis moves of single Na between sites, detailed balance for P ∝ ∏ z over allowed configurations."""
    occupied, empty = np.flatnonzero(filled).tolist(), np.flatnonzero(~filled).tolist()
    if not occupied or not empty:
        return filled.copy()
    neighbours = [conflicts.indices[i:j].tolist() for i, j in pairwise(conflicts.indptr.tolist())]
    blockers = (conflicts @ filled).astype(int).tolist()
    log_z = log_activity.tolist()
    for _ in range(SWEEPS):
        from_ = rng.integers(len(occupied), size=len(filled)).tolist()
        to = rng.integers(len(empty), size=len(filled)).tolist()
        chance = np.log(rng.random(len(filled))).tolist()
        for i, j, log_u in zip(from_, to, chance, strict=True):
            a, b = occupied[i], empty[j]
            if log_u >= log_z[b] - log_z[a] or blockers[b] > (a in neighbours[b]):
                continue
            occupied[i], empty[j] = b, a
            for site in neighbours[a]:
                blockers[site] -= 1
            for site in neighbours[b]:
                blockers[site] += 1
    result = np.zeros_like(filled)
    result[occupied] = True
    return result


def _choose(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[:count]] = True
    return chosen
