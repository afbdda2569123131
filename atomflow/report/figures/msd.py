"""The mean squared displacement at every temperature of one structure, with the window that was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atomflow.report.figures.style import COLOURS, INK, Figure, canvas, finish, stem
from atomflow.report.numbers import estimate_of
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

_COLUMNS = 2


def draw(structure: str, groups: list[dict[str, Any]], folder: Path) -> Figure | None:
    """One panel a temperature; ``None`` when no group carries a displacement curve."""
    groups = sorted((g for g in groups if _curve(g) is not None), key=lambda g: g.get("temperature_K") or 0)
    if not groups:
        return None
    columns = min(_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    with canvas(0.4 + 1.35 * rows if columns > 1 else 2.2, rows, columns) as (figure, axes):
        for axis, group in zip(axes.flat, groups, strict=False):
            _panel(axis, group, compact=columns > 1)
        for axis in list(axes.flat)[len(groups) :]:
            axis.set_axis_off()
        figure.supxlabel("lag time  (ps)", fontsize=8)
        figure.supylabel("Na mean squared displacement  (Å$^2$)", fontsize=8)
        temperatures = ", ".join(f"{g['temperature_K']:.0f}" for g in groups if g.get("temperature_K"))
        alt = f"Mean squared displacement of Na in {structure} against lag time at {temperatures} K."
        caption = (
            f"{structure}: mean squared displacement with its 95 % band. Shaded: the lags that were fitted; "
            "line: the diffusivity found there. No line where the run does not diffuse (an upper limit)."
        )
        return finish(figure, folder, f"msd_{stem(structure)}", alt, caption)


def _curve(group: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    msd = group.get("msd") or {}
    lag, value = msd.get("lag_ps") or [], msd.get("msd_A2") or []
    if len(lag) < 2 or len(lag) != len(value):
        return None
    return np.array(lag, dtype=float), np.array(value, dtype=float)


def _panel(axis: Any, group: dict[str, Any], compact: bool) -> None:
    curve = _curve(group)
    assert curve is not None
    lag, value = curve
    keep = _thin(len(lag))
    axis.plot(lag[keep], value[keep], color=COLOURS[0], lw=1.0)
    low, high = (np.array(group["msd"].get(name) or [], dtype=float) for name in ("low_A2", "high_A2"))
    if len(low) == len(high) == len(lag):
        axis.fill_between(lag[keep], low[keep], high[keep], color=COLOURS[0], alpha=0.2, lw=0)
    window = group.get("fit_window_ps")
    if window and None not in window:
        axis.axvspan(*window, color=COLOURS[4], alpha=0.16, lw=0)
        _slope(axis, group, window, lag, value)
    if group.get("temperature_K"):
        axis.set_title(f"{group['temperature_K']:.0f} K", loc="left", pad=3, fontsize=7.5 if compact else 8)
    axis.set_xlim(0, lag[-1])
    axis.set_ylim(0, max(1.15 * float(np.nanmax(value)), 1e-6))


def _slope(axis: Any, group: dict[str, Any], window: list[float], lag: np.ndarray, value: np.ndarray) -> None:
    """6 D t through the middle of the fitted window."""
    d = estimate_of(group.get("tracer_diffusivity_cm2_per_s")).value
    inside = (lag >= window[0]) & (lag <= window[1])
    if d is None or not inside.any():
        return
    slope = 6.0 * d / CM2_PER_S_PER_A2_PER_PS
    x = np.array(window, dtype=float)
    y = float(np.nanmean(value[inside])) + slope * (x - float(lag[inside].mean()))
    axis.plot(x, y, color=INK, lw=0.9, ls=(0, (3, 2)))


def _thin(n: int, most: int = 400) -> np.ndarray:
    """At most so many of ``n`` points, evenly, ends included."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
