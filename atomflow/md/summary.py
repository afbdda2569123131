"""What a finished run says of itself, from its thermo rows. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.md.config import MDConfig
from atomflow.units import FS_PER_PS

MEV_PER_EV = 1000.0

#: when a summary is worth a warning
LARGEST_DRIFT_MEV = 1.0
LARGEST_TEMPERATURE_ERROR = 0.03
LONG_ENOUGH_PS = 1.0


def summarize(thermo: dict[str, np.ndarray], n_atoms: int) -> dict[str, Any]:
    """Means and drifts over production (``time_fs >= 0``).

    The drift is the slope of a straight line through the conserved energy; its scatter about that line is given beside
    it. Values that one row alone cannot give are None.
    """
    rows = np.asarray(thermo["time_fs"]) >= 0
    time_ps = np.asarray(thermo["time_fs"])[rows] / FS_PER_PS
    values = {name: np.asarray(column)[rows] for name, column in thermo.items()}
    temperature, conserved = values["temperature_K"], values["conserved_energy_eV"]
    many = len(time_ps) > 2
    slope, scatter = _line(time_ps, conserved) if many else (None, None)
    per_atom = MEV_PER_EV / n_atoms
    summary = {
        "temperature_mean_K": float(temperature.mean()),
        "temperature_std_K": float(temperature.std(ddof=1)) if many else None,
        "potential_energy_mean_eV": float(values["potential_energy_eV"].mean()),
        "energy_drift_meV_per_atom_per_ps": None if slope is None else slope * per_atom,
        "energy_scatter_meV_per_atom": None if scatter is None else scatter * per_atom,
        "volume_mean_A3": float(values["volume_A3"].mean()),
    }
    if "pressure_GPa" in values:  # the cell moves
        summary["volume_std_A3"] = float(values["volume_A3"].std(ddof=1)) if many else None
        summary["pressure_mean_GPa"] = float(values["pressure_GPa"].mean())
    return summary


def remarks(summary: dict[str, Any], config: MDConfig) -> list[str]:
    """What a reader should know before trusting the run: a drifting energy, a temperature off its target."""
    found = []
    drift = summary["energy_drift_meV_per_atom_per_ps"]
    if drift is not None and config.time_ps >= LONG_ENOUGH_PS and abs(drift) > LARGEST_DRIFT_MEV:
        found.append(f"the conserved energy drifts by {drift:+.2f} meV/atom/ps; use a shorter time step, or float64")
    held = config.ensemble != "nve" and config.temperature_end_K in (None, config.temperature_K)
    settled = config.time_ps * FS_PER_PS >= 10 * config.thermostat_time_fs
    off = summary["temperature_mean_K"] / config.temperature_K - 1
    if held and settled and abs(off) > LARGEST_TEMPERATURE_ERROR:
        found.append(f"the mean temperature {summary['temperature_mean_K']:.0f} K is {100 * abs(off):.1f} % "
                     f"{'above' if off > 0 else 'below'} the target {config.temperature_K:g} K: too little "
                     f"equilibration, or a drift that the thermostat cannot keep up with")
    if config.ensemble == "nve" and config.equilibration_ps == 0:
        found.append("nve without equilibration: about half of the kinetic energy drawn at the start goes into "
                     "vibrations, so that a crystal settles well below temperature_K")
    return found


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line, and the standard deviation about it."""
    x, y = x - x.mean(), y - y.mean()
    slope = float((x @ y) / (x @ x))
    return slope, float(np.std(y - slope * x))
