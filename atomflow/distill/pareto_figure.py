"""The front as a figure: force error against the cost of a step, both with their intervals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def write_figure(data: dict[str, Any], path: str | Path) -> Path:
    """PNG of what :func:`atomflow.distill.pareto.run` returned; whole or not at all."""
    from matplotlib.figure import Figure

    path = Path(path)
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(sorted(data["students"], key=lambda row: row["ms_per_step"]["value"]), start=1):
        colour = "tab:blue" if row["on_front"] else "0.6"
        _point(axes, row, "o", colour, str(number), f"{number}: {_short(row['shape'])}")
    for row in data["compared"]:
        _point(axes, row, "s", "tab:red", "", f"{row['name']} (trained elsewhere)")
    front = sorted((row["ms_per_step"]["value"], row["force_rmse_eV_per_A"]["value"])
                   for row in data["students"] if row["on_front"])
    axes.plot(*zip(*front, strict=True), "-", color="tab:blue", lw=1, zorder=1)
    axes.set(xscale="log", yscale="log", xlabel=f"ms a step, {data['timing']['atoms']} atoms, one thread",
             ylabel="force RMSE against the teacher on held-out systems (eV/Å)", title=_title(data))
    axes.title.set_fontsize(9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=8)
    axes.legend(title="channels, max_ell, correlation ν, layers, cutoff", fontsize=7, loc="lower left")
    axes.grid(True, which="both", lw=0.3)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=130)
    os.replace(partial, path)
    return path


def _point(axes: Any, row: dict[str, Any], marker: str, colour: str, text: str, legend: str) -> None:
    cost, error = row["ms_per_step"], row["force_rmse_eV_per_A"]
    axes.errorbar(cost["value"], error["value"], xerr=_bars(cost), yerr=_bars(error), fmt=marker, color=colour,
                  capsize=2, ms=5, label=legend)
    axes.annotate(text, (cost["value"], error["value"]), xytext=(5, 5), textcoords="offset points", fontsize=9)


def _bars(estimate: dict[str, float | None]) -> list[list[float]] | None:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def _short(shape: dict[str, Any]) -> str:
    sent = ", vectors" if shape["message_degree"] == 1 else ", degree 2" if shape["message_degree"] == 2 else ""
    return (f"{shape['channels']} ch{sent}, l {shape['max_ell']}, ν {shape['correlation']}, {shape['layers']} lay., "
            f"{shape['cutoff_A']:g} Å")


def _title(data: dict[str, Any]) -> str:
    config = data["config"]
    held_out = data["held_out"]
    return (f"{config['name']}: {config['frames']} frames, {config['epochs']} epochs each, not converged; errors on "
            f"{held_out['frames']} frames of {held_out['systems']} held-out systems (95 %)")
