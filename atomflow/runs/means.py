"""How hot a run was: the mean of its temperature rows with a standard error, one estimator for engine and analysis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from atomflow.blocks import standard_error
from atomflow.units import FS_PER_PS

#: So many relaxation times of the thermostat (of the barostat, for the volume) count as one independent look: after
#: about two of them the instants are independent, since the potential energy shares in what the thermostat gives.
MEMORY = 4.0


def error_of_mean(values: np.ndarray, relaxation_fs: float, interval_fs: float) -> float | None:
    """Standard error of the mean of rows ``interval_fs`` apart that a thermostat or barostat of this relaxation time
    keeps; None of too few rows. A relaxation time of zero: nothing keeps them, and blocks alone tell."""
    return standard_error(values, max(1.0, MEMORY * relaxation_fs / interval_fs) if interval_fs > 0 else 1.0)


def thermostat_fs(config: Mapping[str, Any]) -> float:
    """Relaxation time of the thermostat of a run with this ``config``; zero at constant energy."""
    return 0.0 if config.get("ensemble") == "nve" else float(config.get("thermostat_time_fs") or 500.0)


def is_held(config: Mapping[str, Any]) -> bool:
    """Whether the temperature had one target all along."""
    return config.get("temperature_end_K") in (None, config.get("temperature_K"))


def drift_K(values: np.ndarray, relaxation_fs: float, interval_fs: float) -> tuple[float, float] | None:
    """Mean temperatures of the first and the last third of the rows, where they differ by more than 5 % and by far more
    than their fluctuations explain; else None."""
    third = len(values) // 3
    if third < 10 or not np.isfinite(values).all():
        return None
    ends = values[:third], values[-third:]
    first, last = (float(rows.mean()) for rows in ends)
    errors = [error_of_mean(rows, relaxation_fs, interval_fs) or 0.0 for rows in ends]
    drifts = abs(last - first) > max(0.05 * float(values.mean()), 5.0 * float(np.linalg.norm(errors)))
    return (first, last) if drifts else None


def mean_temperature_K(trajectory: Any, discard_ps: float = 0.0) -> tuple[float | None, float | None]:
    """Mean temperature of production after ``discard_ps`` and its standard error.

    Both None where the trajectory has no record of it; no error of fewer than ten rows or of a temperature ramp.
    """
    if not hasattr(trajectory, "thermo"):
        return None, None
    thermo = trajectory.thermo()
    values, times = thermo.get("temperature_K"), thermo.get("time_fs")
    if values is None or times is None:
        return None, None
    used = np.asarray(times) >= FS_PER_PS * discard_ps - 1e-6
    rows, times = np.asarray(values, dtype=np.float64)[used], np.asarray(times)[used]
    if len(rows) == 0 or not np.isfinite(rows).all():
        return None, None
    config = getattr(trajectory, "config", None) or {}
    interval_fs = float(np.ptp(times)) / max(1, len(times) - 1)
    error = error_of_mean(rows, thermostat_fs(config), interval_fs) if is_held(config) else None
    return float(rows.mean()), error
