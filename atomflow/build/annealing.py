"""Low-energy orderings by simulated annealing: exchange filled and empty sites of one kind, cool, then descend.

The state keeps the potential φ = field + coupling·s at every variable, so a trial exchange a → b costs one addition,
ΔE = φ_b - φ_a - J_ab, and an accepted one two rows of J. The last step tries all exchanges at once until none lowers
the energy: the result is a local minimum with respect to every single exchange.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from atomflow.build.electrostatics import OrderingEnergy

#: Trials of one annealing per variable, and the fewest and most in all (about a million trials a second).
SWEEPS = 4_000
MIN_TRIALS, MAX_TRIALS = 200_000, 2_000_000
_CHUNK = 100_000
#: Cells this small are annealed this many times and the best is kept.
RESTARTS, RESTART_BELOW_VARIABLES = 4, 200
#: Final temperature in eV; formal charges make a typical exchange cost several eV.
COLD_EV = 0.02


def anneal(
    energy: OrderingEnergy, start: np.ndarray, conflicts: csr_array, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """The best ordering found from ``start`` and its energy in eV.

    Args:
        energy: the quadratic form.
        start: (K,) of 0.0 and 1.0, without conflicts; the number of ones of each kind is kept.
        conflicts: (n_na, n_na) 1 where two Na sites may not both be filled.
        rng: the same generator state gives the same result.
    """
    restarts = RESTARTS if len(start) < RESTART_BELOW_VARIABLES else 1
    found = [_Annealer(energy, start, conflicts).run(rng) for _ in range(restarts)]
    best = min(found, key=energy.energy_eV)
    return best, energy.energy_eV(best)


class _Annealer:
    """One annealing; ``s``, ``phi`` and ``blockers`` change together in :meth:`_exchange`."""

    def __init__(self, energy: OrderingEnergy, start: np.ndarray, conflicts: csr_array) -> None:
        self.coupling = energy.coupling
        self.s = start.copy()
        self.phi = energy.field + energy.coupling @ start
        self.conflicts = np.zeros_like(energy.coupling)
        self.conflicts[np.ix_(energy.na, energy.na)] = conflicts.toarray()
        self.blockers = self.conflicts @ start
        self.kinds = [kind for kind in (energy.na, energy.t, energy.zr) if 0 < start[kind].sum() < len(kind)]

    def run(self, rng: np.random.Generator) -> np.ndarray:
        if self.kinds:
            trials = min(max(MIN_TRIALS, SWEEPS * sum(len(kind) for kind in self.kinds)), MAX_TRIALS)
            hot = self._typical_step(rng)
            temperatures_eV = np.geomspace(hot, min(COLD_EV, hot), trials)
            for chunk in range(0, trials, _CHUNK):
                self._cool(temperatures_eV[chunk : chunk + _CHUNK], rng)
            self._descend()
        return self.s

    def _typical_step(self, rng: np.random.Generator) -> float:
        """Half the mean |ΔE| of random exchanges, in eV: hot enough that nothing of the start remains."""
        steps = []
        for kind in self.kinds:
            a = rng.choice(kind[self.s[kind] > 0.5], 200)
            b = rng.choice(kind[self.s[kind] < 0.5], 200)
            steps.append(np.abs(self.phi[b] - self.phi[a] - self.coupling[a, b])[self.blockers[b] == 0])
        values = np.concatenate(steps)
        return 0.5 * float(values.mean()) if len(values) else 1.0

    def _cool(self, temperatures_eV: np.ndarray, rng: np.random.Generator) -> None:
        """Metropolis trials at falling temperatures; kinds are tried in proportion to their numbers of sites."""
        filled = [list(kind[self.s[kind] > 0.5]) for kind in self.kinds]
        empty = [list(kind[self.s[kind] < 0.5]) for kind in self.kinds]
        n = len(temperatures_eV)
        weights = np.array([len(kind) for kind in self.kinds], dtype=float)
        which = rng.choice(len(self.kinds), size=n, p=weights / weights.sum())
        first = (rng.random(n) * np.array([len(x) for x in filled])[which]).astype(int)
        second = (rng.random(n) * np.array([len(x) for x in empty])[which]).astype(int)
        allowance = -temperatures_eV * np.log(rng.random(n))
        for k, i, j, most in zip(which.tolist(), first.tolist(), second.tolist(), allowance.tolist(), strict=True):
            a, b = filled[k][i], empty[k][j]
            if self.phi[b] - self.phi[a] - self.coupling[a, b] > most or self.blockers[b] > self.conflicts[a, b]:
                continue
            self._exchange(a, b)
            filled[k][i], empty[k][j] = b, a

    def _descend(self) -> None:
        """Take the best single exchange until none lowers the energy."""
        while True:
            best = (-1e-9, -1, -1)
            for kind in self.kinds:
                a, b = kind[self.s[kind] > 0.5], kind[self.s[kind] < 0.5]
                step = self.phi[b] - self.phi[a][:, None] - self.coupling[np.ix_(a, b)]
                step[self.blockers[b] > self.conflicts[np.ix_(a, b)]] = np.inf
                i, j = np.unravel_index(step.argmin(), step.shape)
                best = min(best, (float(step[i, j]), int(a[i]), int(b[j])))
            if best[1] < 0:
                return
            self._exchange(best[1], best[2])

    def _exchange(self, a: int, b: int) -> None:
        self.s[a], self.s[b] = 0.0, 1.0
        self.phi += self.coupling[b] - self.coupling[a]
        self.blockers += self.conflicts[b] - self.conflicts[a]
