"""What a finished run says of itself, from its thermo rows. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.units import FS_PER_PS

MEV_PER_EV = 1000.0


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
        "volume_std_A3": float(values["volume_A3"].std(ddof=1)) if many else None,
    }
    if "pressure_GPa" in values:
        summary["pressure_mean_GPa"] = float(values["pressure_GPa"].mean())
    return summary


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line, and the standard deviation about it."""
    x, y = x - x.mean(), y - y.mean()
    slope = float((x @ y) / (x @ x))
    return slope, float(np.std(y - slope * x))
