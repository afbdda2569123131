"""Synthetic trajectories of known transport, in memory: what the transport tests are judged against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

MONOCLINIC = np.array([[15.65, 0.0, 0.0], [0.0, 9.05, 0.0], [-5.1, 0.0, 7.65]])


@dataclass
class MemoryTrajectory:
    """The Trajectory protocol over arrays: positions (F, N, 3) unwrapped, lattices (F, 3, 3) or (3, 3)."""

    positions: np.ndarray
    symbols: Any
    lattice: np.ndarray = field(default_factory=lambda: MONOCLINIC)
    frame_interval_fs: float = 100.0
    temperature_K: float | None = 600.0
    potential: dict | None = None
    cell_summary: dict = field(default_factory=dict)
    source: str = "memory"
    warnings: list = field(default_factory=list)
    reads: list = field(default_factory=list)

    def __post_init__(self):
        self.symbols = np.asarray(self.symbols)
        self.n_frames, self.n_atoms = self.positions.shape[:2]
        self.regions = np.array(["bulk"] * self.n_atoms)
        self.sites = np.array([""] * self.n_atoms)
        self.variable_cell = self.lattice.ndim == 3
        self.mean_lattice_A = self.lattice.mean(axis=0) if self.variable_cell else self.lattice
        self.times_fs = np.arange(self.n_frames) * self.frame_interval_fs

    def positions_A(self, start, stop, atoms=None):
        chosen = self.positions[start:stop] if atoms is None else self.positions[start:stop, atoms]
        self.reads.append(chosen.size)
        return np.array(chosen, dtype=np.float64)

    def lattices_A(self, start, stop):
        if self.lattice.ndim == 3:
            return self.lattice[start:stop]
        return np.broadcast_to(self.lattice, (stop - start, 3, 3))


def with_framework(ions: np.ndarray, rng, n_framework=4, drift=None, **kwargs) -> MemoryTrajectory:
    """Ions (F, n, 3) as Na beside a still (or drifting: (F, 3)) framework of Zr."""
    frames = len(ions)
    framework = np.broadcast_to(rng.uniform(0, 8, (n_framework, 3)), (frames, n_framework, 3)).copy()
    everything = np.concatenate([ions, framework], axis=1)
    if drift is not None:
        everything = everything + drift[:, None, :]
    symbols = ["Na"] * ions.shape[1] + ["Zr"] * n_framework
    return MemoryTrajectory(everything, symbols, **kwargs)


def gaussian_walk(rng, frames, ions, d_A2_per_ps, dt_ps):
    """(F, n, 3) independent Brownian paths."""
    steps = rng.normal(scale=np.sqrt(2 * d_A2_per_ps * dt_ps), size=(frames, ions, 3))
    steps[0] = 0
    return np.cumsum(steps, axis=0)


def cage(rng, frames, ions, amplitude_A, memory_frames):
    """(F, n, 3) vibration: an Ornstein–Uhlenbeck process of the given amplitude for each coordinate."""
    from scipy.signal import lfilter

    a = np.exp(-1.0 / memory_frames)
    noise = rng.normal(scale=amplitude_A * np.sqrt(1 - a * a), size=(frames, ions, 3))
    noise[0] = rng.normal(scale=amplitude_A, size=(ions, 3))
    return lfilter([1.0], [1.0, -a], noise, axis=0)


def lattice_hops(rng, frames, ions, rate_per_ps, dt_ps, hop_A=3.5, together=1):
    """(F, n, 3) hops of fixed length along ±x, ±y, ±z at Poisson times; D = rate·a²/6 (Å²/ps).

    ``together`` ions hop at the same moment in the same direction (concerted): Haven ratio 1/together.
    """
    groups = ions // together
    counts = rng.poisson(rate_per_ps * dt_ps, size=(frames, groups))
    counts[0] = 0
    moved = np.zeros((frames, groups, 3))
    for frame, group in zip(*np.nonzero(counts), strict=True):
        for _ in range(counts[frame, group]):
            moved[frame, group, rng.integers(3)] += hop_A * rng.choice([-1, 1])
    return np.repeat(np.cumsum(moved, axis=0), together, axis=1)


def returning_hops(rng, frames, ions, rate_per_ps, dt_ps, back, hop_A=3.5):
    """(F, n, 3) hops of which a fraction ``back`` undo the one before; D = rate·a²/6·(1 − back)/(1 + back)."""
    moved = np.zeros((frames, ions, 3))
    for ion in range(ions):
        last = None
        for frame in np.sort(rng.integers(1, frames, rng.poisson(rate_per_ps * dt_ps * frames))):
            if last is not None and rng.random() < back:
                last = -last
            else:
                last = np.zeros(3)
                last[rng.integers(3)] = hop_A * rng.choice([-1, 1])
            moved[frame, ion] += last
    return np.cumsum(moved, axis=0)


def two_site_rattle(rng, frames, ions, rate_per_ps, dt_ps, hop_A=3.5):
    """(F, n, 3) ions that flip between two sites for ever: many hops, no diffusion."""
    flips = rng.random((frames, ions)) < rate_per_ps * dt_ps
    return (np.cumsum(flips, axis=0) % 2)[..., None] * np.array([hop_A, 0.0, 0.0])
