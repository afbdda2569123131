"""Does the glass separate into a zinc-rich and a boron-rich part? Concentration waves against chance.

The concentration–concentration structure factor of the cations (Bhatia & Thornton, Phys. Rev. B 2, 3004 (1970)),

    S(k) = |Σ_j (δ_j − c) exp(i k·r_j)|² / (N c (1 − c)),   δ_j = 1 for Zn and 0 for B, c = mean of δ,

is 1 for labels dealt out at random (N/(N − 1) exactly), below 1 where Zn and B alternate, and above 1 at the longest
waves where they part. Chance is asked of the very same positions: the labels are dealt out again many times, the same
deal for all frames of a replica, since a glass is frozen. Waves longer than the box do not exist in it: a separation on
a larger scale cannot be seen, and every sentence says what the longest wave was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.blocks import estimate
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.order.frames import Source
from atomflow.order.neighbours import pairs

#: The longest waves: the shortest wave vector and those up to this many times as long.
WAVES_WITHIN = 1.5
#: Deals of the labels that make the distribution of chance.
DEALS = 400
#: Cations nearer than this count as neighbours: behind one shared oxygen (Zn–O–Zn 3.1–3.4, Zn–O–B about 3.0 Å).
NEIGHBOUR_A = 4.0


@dataclass(frozen=True)
class Separation:
    """Concentration waves of two elements, beside what chance gives on the same positions.

    Attributes:
        pair: ``Zn-B``. wavelength_A: of the longest waves, the longest and the shortest of those averaged.
        structure_factor: mean of S over these waves, with its interval over replicas (or blocks).
        chance: 2.5, 50 and 97.5 % of that mean over deals of the labels.
        p_value: share of the deals with as much or more (one side).
        like_neighbours: share of Zn among the cations within 4 Å of a Zn; like_chance: its 2.5, 50 and 97.5 %.
        n_cations: of one replica.
    """

    pair: str
    wavelength_A: tuple[float, float]
    structure_factor: Estimate
    chance: tuple[float, float, float]
    p_value: float
    like_neighbours: Estimate
    like_chance: tuple[float, float, float]
    n_cations: int

    @property
    def seen(self) -> bool:
        """Whether the longest waves are stronger than in 97.5 % of the deals."""
        return self.structure_factor.value is not None and self.structure_factor.value > self.chance[2]

    @property
    def sentence(self) -> str:
        first, second = self.pair.split("-")
        scale = f"{self.wavelength_A[0]:.0f} Å"
        strength = (f"S at the longest waves {self.structure_factor:.3g}, chance {self.chance[0]:.2g} to "
                    f"{self.chance[2]:.2g}")  # fmt: skip
        if self.seen:
            return f"{first} and {second} part on the scale of the box ({scale}): {strength}"
        more = "more evenly mixed than chance" if (self.structure_factor.value or 0) < self.chance[0] else "as chance"
        return (f"no separation of {first} and {second} up to {scale} ({more}): {strength}; longer waves do not fit "
                "into the box")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "seen": self.seen, "sentence": self.sentence}


def separation(
    sources: Sequence[Source], pair: str = "Zn-B", region: str | None = None, level: float = 0.95, seed: int = 0
) -> Separation:
    """Ask whether the two elements part, over frames and replicas.

    Args:
        region: only atoms of this region count. Its waves then run along the box edges that it fills.

    Raises:
        InputError: fewer than two atoms of one of them.
    """
    first, second = pair.split("-")
    rng = np.random.default_rng(seed)
    waves, neighbours, wavelengths, count = [], [], [], 0
    for source in sources:
        cations = np.isin(source.symbols, (first, second))
        if region is not None:
            cations &= source.regions == region
        is_first = source.symbols[cations] == first
        count = len(is_first)
        if min(is_first.sum(), (~is_first).sum()) < 2:
            raise InputError(f"{source.name}: too few {first} or {second} to ask whether they part")
        labels = np.concatenate([is_first[None], rng.permuted(np.tile(is_first, (DEALS, 1)), axis=1)])
        frames = [(positions[cations], lattice) for positions, lattice in source.frames()]
        lattice = np.mean([box for _, box in frames], axis=0)
        vectors = _longest_waves(lattice, _open_axes(source, region))
        lengths = 1 / np.linalg.norm(vectors @ np.linalg.inv(lattice).T, axis=1)
        wavelengths.append((float(lengths.max()), float(lengths.min())))
        waves.append(np.array([_waves(p, box, labels, vectors) for p, box in frames]))
        neighbours.append(np.array([_like_neighbours(p, box, labels) for p, box in frames]))
    observed = estimate([w[:, 0] for w in waves], level)
    like = estimate([n[:, 0] for n in neighbours], level)
    dealt = np.mean([w[:, 1:].mean(axis=0) for w in waves], axis=0)
    like_dealt = np.mean([n[:, 1:].mean(axis=0) for n in neighbours], axis=0)
    p_value = (1 + int((dealt >= (observed.value or 0.0)).sum())) / (DEALS + 1)
    return Separation(pair, (max(w[0] for w in wavelengths), min(w[1] for w in wavelengths)), observed, _band(dealt),
                      p_value, like, _band(like_dealt), count)


def _open_axes(source: Source, region: str | None) -> tuple[int, ...]:
    """Box edges along which the atoms fill the box: all three, or the two in the plane of a film."""
    others = set(source.regions.tolist()) - {region}
    return (0, 1) if region is not None and others else (0, 1, 2)


def _longest_waves(lattice_A: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """(W, 3) whole numbers (one of each ± pair) of the shortest reciprocal vectors along these axes."""
    grid = np.arange(-3, 4)
    ranges = [grid if axis in axes else np.zeros(1, int) for axis in range(3)]
    whole = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    half = whole[[tuple(h) > (0, 0, 0) for h in whole.tolist()]]
    lengths = np.linalg.norm(half @ np.linalg.inv(lattice_A).T, axis=1)
    return half[lengths <= WAVES_WITHIN * lengths.min() + 1e-9]


def _waves(positions_A: np.ndarray, lattice_A: np.ndarray, labels: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(deals,) mean of S over the waves, for each row of labels (deals, N)."""
    phases = np.exp(2j * np.pi * (positions_A @ np.linalg.inv(lattice_A)) @ vectors.T)
    share = labels[0].mean()
    amplitudes = (labels - share) @ phases
    strength: np.ndarray = (np.abs(amplitudes) ** 2).mean(axis=1) / (labels.shape[1] * share * (1 - share))
    return strength


def _like_neighbours(positions_A: np.ndarray, lattice_A: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(deals,) share of the first element among the neighbours of its atoms; NaN where it has none."""
    everything = np.ones(len(positions_A), dtype=bool)
    found = pairs(positions_A, lattice_A, everything, everything, NEIGHBOUR_A)
    centre, partner = labels[:, found.first], labels[:, found.second]
    total = centre.sum(axis=1)
    share: np.ndarray = np.where(total > 0, (centre & partner).sum(axis=1) / np.maximum(total, 1), np.nan)
    return share


def _band(values: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.nanpercentile(values, [2.5, 50.0, 97.5])
    return float(low), float(middle), float(high)
