"""The steps of all runs at one length, as sine modes: what the likelihood of D is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atomflow.transport.measure import Run
from atomflow.transport.walk import bin_means, mode_shape, step_modes


@dataclass(frozen=True)
class Modes:
    """Sine-transformed steps of all runs at one bin length.

    Attributes:
        step_ps: Δ. step_frames: frames in it.
        ions: per run (n, 3, K). collective: per run (3, K), divided by √n. shapes: per run (K,) g_k.
    """

    step_ps: float
    step_frames: int
    ions: list[np.ndarray]
    collective: list[np.ndarray]
    shapes: list[np.ndarray]

    @property
    def g(self) -> np.ndarray:
        return np.concatenate(self.shapes)

    @property
    def n_ions(self) -> int:
        return len(self.ions[0])

    def tracer_power(self, directions: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(degrees of freedom, mean power) of every mode."""
        chosen = [y[:, directions] for y in self.ions]
        dof = np.concatenate([np.full(y.shape[2], float(y.shape[0] * y.shape[1])) for y in chosen])
        return dof, np.concatenate([(y**2).mean(axis=(0, 1)) for y in chosen])

    def charge_power(self) -> tuple[np.ndarray, np.ndarray]:
        dof = np.concatenate([np.full(y.shape[1], 3.0) for y in self.collective])
        return dof, np.concatenate([(y**2).mean(axis=0) for y in self.collective])


def modes(runs: Sequence[Run], bins_per_step: int, bin_ps: float, bin_frames: int) -> Modes:
    """Steps of length ``bins_per_step`` bins, transformed. Runs too short for three steps are left out."""
    ions, collective, shapes = [], [], []
    for run in runs:
        n, _, bins = run.ions_A.shape
        if bins // bins_per_step < 4:
            continue
        y = step_modes(bin_means(run.ions_A.reshape(3 * n, bins), bins_per_step))
        ions.append(y.reshape(n, 3, -1))
        collective.append(step_modes(bin_means(run.collective_A, bins_per_step)) / np.sqrt(n))
        shapes.append(mode_shape(y.shape[1]))
    return Modes(bins_per_step * bin_ps, bins_per_step * bin_frames, ions, collective, shapes)
