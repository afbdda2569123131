"""The automatic fit window: where caging ends, where statistics end, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomflow.transport.diffusion import Diffusivity, tracer
from atomflow.transport.measure import Measured
from atomflow.transport.modes import Modes, modes
from atomflow.transport.scatter import concerted
from atomflow.transport.walk import misfit

#: Fewest steps that one run is cut into.
_MIN_STEPS = 8
_MISFIT_P = 0.2


@dataclass(frozen=True)
class Window:
    """Lags from ``start_ps`` (the step Δ of the walk) to ``end_ps`` (half the longest run)."""

    start_ps: float
    end_ps: float
    reason: str
    steps: Modes
    fit: Diffusivity
    together: float
    slope: float


def choose(measured: Measured, hop_length_A: float) -> Window:
    """Start where the MSD reaches two hops squared, or later until the steps fit a diffusing walk.

    Hops remember: an ion that has just hopped is likelier to hop back. Shorter steps would count such pairs as
    diffusion.
    """
    longest = max(run.ions_A.shape[2] for run in measured.runs)
    most = max(1, longest // _MIN_STEPS)
    wanted, why = _two_hops(measured, hop_length_A)
    bins = int(np.clip(-(-wanted // measured.bin_frames), 1, most))
    if bins < -(-wanted // measured.bin_frames):
        why = f"an {_MIN_STEPS}th of the run (the MSD reaches two hops squared later)"
    moved_on = False
    together = concerted(measured.runs)
    while True:
        steps = modes(measured.runs, bins, measured.bin_ps, measured.bin_frames)
        fit = tracer(steps, together)
        dof, power = steps.tracer_power()
        p = misfit(steps.g, dof, power, fit.posterior, fit.overdispersion)
        if p > _MISFIT_P or bins >= most:
            break
        bins, moved_on = min(most, max(bins + 1, int(bins * 1.4))), True
    if moved_on:
        why += ", then later until steps were those of a walk" if p > _MISFIT_P else (
            ", then as late as the run allows: its steps still remember each other")
    slope = _slope(measured, steps.step_ps)
    end = 0.5 * measured.longest_ps
    reason = (f"from {steps.step_ps:.3g} ps: {why}; to {end:.3g} ps: half the run, beyond it windows no longer repeat; "
              f"log-log slope of the MSD at the start {slope:.2f}")
    return Window(steps.step_ps, end, reason, steps, fit, together, slope)


def _two_hops(measured: Measured, hop_length_A: float) -> tuple[int, str]:
    """First lag (frames) at which the MSD exceeds two hops squared."""
    target = 2.0 * hop_length_A**2
    beyond = np.flatnonzero(measured.msd_A2 >= target)
    if len(beyond) == 0:
        return len(measured.msd_A2), ""
    return max(1, int(beyond[0])), f"the MSD reaches two hops squared ({target:.3g} Å²)"


def _slope(measured: Measured, lag_ps: float) -> float:
    """d ln MSD / d ln lag over a factor of two from ``lag_ps``."""
    first = max(1, round(lag_ps / measured.interval_ps))
    last = min(2 * first, len(measured.msd_A2) - 1)
    values = measured.msd_A2[[first, last]]
    if last <= first or (values <= 0).any():
        return float("nan")
    return float(np.log(values[1] / values[0]) / np.log(last / first))
