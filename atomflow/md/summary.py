"""What a finished run says of itself, from its thermo rows. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.md.config import MDConfig
from atomflow.runs.means import error_of_mean
from atomflow.units import FS_PER_PS

MEV_PER_EV = 1000.0

#: when a summary is worth a warning
LARGEST_DRIFT_MEV = 1.0
LARGEST_TEMPERATURE_ERROR = 0.03
LONG_ENOUGH_PS = 1.0
#: A mean temperature nearer to its target than so many of its standard errors may be there by chance.
CHANCE = 3.0


def summarize(thermo: dict[str, np.ndarray], n_atoms: int, config: MDConfig) -> dict[str, Any]:
    """Means, their standard errors, and drifts over production (``time_fs >= 0``).

    The drift is the slope of a straight line through the conserved energy; its scatter about that line is given beside
    it. Values that so few rows cannot give are None, and so are errors of means over a ramp of the temperature.
    """
    rows = np.asarray(thermo["time_fs"]) >= 0
    time_ps = np.asarray(thermo["time_fs"])[rows] / FS_PER_PS
    values = {name: np.asarray(column)[rows] for name, column in thermo.items()}
    temperature, conserved = values["temperature_K"], values["conserved_energy_eV"]
    many = len(time_ps) > 2
    slope, scatter = _line(time_ps, conserved) if many else (None, None)
    per_atom = MEV_PER_EV / n_atoms

    def error(name: str, time_fs: float) -> float | None:
        relaxation_fs = 0.0 if config.ensemble == "nve" else time_fs
        return error_of_mean(values[name], relaxation_fs, config.thermo_interval_fs) if _held(config) else None

    summary = {
        "temperature_mean_K": float(temperature.mean()),
        "temperature_error_K": error("temperature_K", config.thermostat_time_fs),
        "temperature_std_K": float(temperature.std(ddof=1)) if many else None,
        "potential_energy_mean_eV": float(values["potential_energy_eV"].mean()),
        "potential_energy_error_eV": error("potential_energy_eV", config.thermostat_time_fs),
        "energy_drift_meV_per_atom_per_ps": None if slope is None else slope * per_atom,
        "energy_scatter_meV_per_atom": None if scatter is None else scatter * per_atom,
        "volume_mean_A3": float(values["volume_A3"].mean()),
    }
    if "pressure_GPa" in values:  # the cell moves
        summary["volume_std_A3"] = float(values["volume_A3"].std(ddof=1)) if many else None
        summary["volume_error_A3"] = error("volume_A3", config.barostat_time_fs)
        summary["pressure_mean_GPa"] = float(values["pressure_GPa"].mean())
        summary["pressure_error_GPa"] = error("pressure_GPa", 0.0)
    return summary


def _held(config: MDConfig) -> bool:
    """Whether the temperature has one target all along."""
    return config.temperature_end_K in (None, config.temperature_K)


def remarks(summary: dict[str, Any], config: MDConfig) -> list[str]:
    """What a reader should know before trusting the run: a drifting energy, a temperature off its target."""
    found = []
    drift = summary["energy_drift_meV_per_atom_per_ps"]
    if drift is not None and config.time_ps >= LONG_ENOUGH_PS and abs(drift) > LARGEST_DRIFT_MEV:
        found.append(f"the conserved energy drifts by {drift:+.2f} meV/atom/ps; use a shorter time step, or float64")
    thermostatted = config.ensemble != "nve" and _held(config)
    settled = config.time_ps * FS_PER_PS >= 10 * config.thermostat_time_fs
    mean, error = summary["temperature_mean_K"], summary.get("temperature_error_K") or 0.0
    off = mean / config.temperature_K - 1
    bound = max(LARGEST_TEMPERATURE_ERROR, CHANCE * error / config.temperature_K)
    if thermostatted and settled and abs(off) > bound:
        found.append(f"the mean temperature {mean:.0f} ± {error:.2g} K is {100 * abs(off):.1f} % "
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
