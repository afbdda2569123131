"""The self part of the van Hove function: how far ions have gone after a time, as a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.transport.displacement import Displacements

_LAGS = 5


@dataclass(frozen=True)
class VanHove:
    """4πr²G_s(r, t): density of the distance moved, integrating to one over r.

    Attributes:
        lag_ps: (L,) lags. r_A: (R,) centres of the bins. density_per_A: (L, R). beyond: (L,) fraction moved farther
        than the last bin. mean_square_A2: (L,) mean squared distance, all of it.
        non_gaussian: (L,) α₂ = 3⟨r⁴⟩/(5⟨r²⟩²) − 1; zero for Gaussian motion, large while few ions have hopped.
    """

    lag_ps: np.ndarray
    r_A: np.ndarray
    density_per_A: np.ndarray
    beyond: np.ndarray
    mean_square_A2: np.ndarray
    non_gaussian: np.ndarray

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in
                ("lag_ps", "r_A", "density_per_A", "beyond", "mean_square_A2", "non_gaussian")}

    def text(self) -> str:
        from atomflow.plain import table

        rows = [[f"{lag:.3g}", f"{np.sqrt(square):.3g}", f"{self.r_A[density.argmax()]:.2f}", f"{alpha:.2f}"]
                for lag, square, density, alpha in
                zip(self.lag_ps, self.mean_square_A2, self.density_per_A, self.non_gaussian, strict=True)]
        return table(rows, ["lag/ps", "rms distance/Å", "most likely/Å", "non-Gaussian α₂"])


def van_hove_self(
    trajectory: Any,
    species: str = "Na",
    lags_ps: Sequence[float] | None = None,
    r_max_A: float = 10.0,
    bins: int = 200,
    discard_ps: float = 0.0,
    framework: str | Sequence[str] = "auto",
    memory_MB: float = 500.0,
) -> VanHove:
    """Histogram of distances moved, over all time origins; by default at five lags up to half the run."""
    moving = Displacements(trajectory, species, discard_ps, framework, memory_MB)
    longest = moving.n_frames - 1
    if lags_ps is None:
        chosen = np.unique(np.round(np.geomspace(max(1, longest / 200), longest / 2, _LAGS)).astype(int))
    else:
        chosen = np.round(np.asarray(lags_ps, dtype=np.float64) / moving.interval_ps).astype(int)
        if len(chosen) == 0 or chosen.min() < 1 or chosen.max() > longest:
            raise InputError(f"lags must lie between {moving.interval_ps:g} and {moving.total_time_ps:g} ps")
    edges = np.linspace(0.0, r_max_A, bins + 1)
    counts, moments = np.zeros((len(chosen), bins)), np.zeros((len(chosen), 3))
    for _, block in moving.blocks():
        paths = block.reshape(-1, 3, moving.n_frames)
        for ion in paths:
            for i, lag in enumerate(chosen):
                square = ((ion[:, lag:] - ion[:, :-lag]) ** 2).sum(axis=0)
                counts[i] += np.histogram(np.sqrt(square), edges)[0]
                moments[i] += square.size, square.sum(), (square**2).sum()
    n, second, fourth = moments[:, 0], moments[:, 1] / moments[:, 0], moments[:, 2] / moments[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(second > 0, 0.6 * fourth / second**2 - 1.0, 0.0)
    return VanHove(chosen * moving.interval_ps, 0.5 * (edges[1:] + edges[:-1]), counts / n[:, None] / np.diff(edges),
                   1.0 - counts.sum(axis=1) / n, second, alpha)
