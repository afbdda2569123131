"""Health of the runs of one structure: temperature against its target, and the drift of the conserved energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.report.figures.style import MUTED, Figure, canvas, finish, ramp, stem
from atomflow.units import FS_PER_PS

if TYPE_CHECKING:
    from atomflow.report.collect import RunRecord

_MOST_POINTS = 160


def draw(structure: str, records: list[RunRecord], folder: Path) -> Figure | None:
    """Two panels, every run a line coloured by its target temperature; ``None`` when no run has a trace."""
    records = [record for record in records if len(record.thermo.get("time_fs", ())) > 1]
    if not records:
        return None
    colours = ramp([record.target_K or 0.0 for record in records])
    with canvas(3.1, 2, 1, sharex=True) as (figure, axes):
        upper, lower = axes[:, 0]
        for record in records:
            colour = colours[record.target_K or 0.0]
            time_ps = record.thermo["time_fs"] / FS_PER_PS
            _trace(upper, time_ps, record.thermo.get("temperature_K"), colour)
            _trace(lower, time_ps, _drift_meV(record, time_ps), colour)
        for target in sorted({r.target_K for r in records if r.target_K}):
            upper.axhline(target, color=MUTED, lw=0.6, ls=(0, (2, 2)), zorder=0)
        _frame(upper, lower, min(float(r.thermo["time_fs"][0]) for r in records))
        _key(upper, colours)
        alt = f"Temperature and drift of the conserved energy of {len(records)} runs of {structure} against time."
        caption = (
            f"{structure}: temperature (dashed: target) and change of the conserved energy per atom since production "
            "began, in blocks. Shaded: equilibration, not used."
        )
        return finish(figure, folder, f"runs_{stem(structure)}", alt, caption)


def _trace(axis: Any, time_ps: np.ndarray, values: np.ndarray | None, colour: Any) -> None:
    """Means over blocks of the values that are finite."""
    if values is None or len(values) != len(time_ps):
        return
    known = np.isfinite(values)
    time_ps, values = time_ps[known], values[known]
    if len(values) == 0:
        return
    blocks = np.array_split(np.arange(len(values)), min(len(values), _MOST_POINTS))
    axis.plot([time_ps[b].mean() for b in blocks], [values[b].mean() for b in blocks], color=colour, lw=0.8)


def _drift_meV(record: RunRecord, time_ps: np.ndarray) -> np.ndarray | None:
    """Conserved energy per atom since the start of production, in meV; NaN during equilibration."""
    energy = record.thermo.get("conserved_energy_eV")
    if energy is None or len(energy) != len(time_ps) or not record.n_atoms:
        return None
    production = (time_ps >= 0) & np.isfinite(energy)
    if not production.any():
        return None
    change = 1000.0 * (energy - energy[production][0]) / record.n_atoms
    return np.where(production, change, np.nan)


def _frame(upper: Any, lower: Any, first_fs: float) -> None:
    upper.set_ylabel("temperature  (K)")
    lower.set_ylabel("energy drift  (meV/atom)")
    lower.set_xlabel("time  (ps)")
    lower.axhline(0.0, color=MUTED, lw=0.6, ls=(0, (2, 2)), zorder=0)
    if first_fs < 0:
        for axis in (upper, lower):
            axis.axvspan(first_fs / FS_PER_PS, 0.0, color=MUTED, alpha=0.15, lw=0)


def _key(axis: Any, colours: dict[float, Any]) -> None:
    from matplotlib.lines import Line2D

    known = {t: c for t, c in colours.items() if t}
    if len(known) > 1:
        handles = [Line2D([], [], color=c, label=f"{t:.0f} K") for t, c in known.items()]
        axis.legend(handles=handles, ncols=min(len(handles), 5), loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
