"""The Arrhenius figure: ln D against 1000/T, fit and band, and how far away the paper's room temperature lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atomflow.report.figures.style import COLOURS, MARKERS, MUTED, Figure, canvas, finish
from atomflow.report.numbers import estimate_of, interval

_TICKS_K = (298, 350, 400, 450, 500, 550, 600, 650, 700, 750, 800, 850, 900, 950, 1000, 1100, 1200, 1300, 1500, 2000)


def draw(result: dict[str, Any], paper_points: list[dict[str, Any]], folder: Path) -> Figure | None:
    """Draw every structure's tracer diffusivities and fit; ``None`` when there is nothing to place.

    Args:
        result: a campaign result's JSON (``groups``, ``arrhenius``).
        paper_points: ``{"label", "temperature_K", "diffusivity_cm2_per_s"}`` of the publication (Nernst–Einstein).
        folder: where the files go.
    """
    series = _series(result)
    if not series:
        return None
    with canvas(2.9) as (figure, axes):
        axis = axes[0, 0]
        for index, (label, (groups, fits)) in enumerate(series.items()):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
            axis.errorbar([], [], yerr=[], fmt=marker, color=colour, capsize=2, lw=0.9, label=label)
            for group in groups:
                _point(axis, group, colour, marker)
            for fit in fits:
                _line(axis, fit, colour)
        _paper(axis, paper_points)
        _frame(axis, [temperature_K(group) for groups, _ in series.values() for group in groups])
        caption = _caption(result, bool(paper_points))
        return finish(figure, folder, "arrhenius", _alt(series), caption)


def _series(result: dict[str, Any]) -> dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Groups and fits that belong together, by structure, and by potential where there is more than one."""
    potentials = {(group.get("potential") or {}).get("name") for group in result.get("groups", [])}

    def label(structure: str, potential: str | None) -> str:
        return f"{structure}, {potential}" if len(potentials) > 1 else structure

    series: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    for group in result.get("groups", []):
        if _drawable(group):
            name = label(group["structure"], (group.get("potential") or {}).get("name"))
            series.setdefault(name, ([], []))[0].append(group)
    for fit in result.get("arrhenius", []):
        name = label(fit["structure"], fit.get("potential"))
        if name in series:
            series[name][1].append(fit)
    return series


def temperature_K(group: dict[str, Any]) -> float:
    """The temperature the atoms had where it was recorded, else the one asked for."""
    return float(group.get("temperature_mean_K") or group["temperature_K"])


def _drawable(group: dict[str, Any]) -> bool:
    high = estimate_of(group.get("tracer_diffusivity_cm2_per_s")).high
    return bool(group.get("temperature_mean_K") or group.get("temperature_K")) and high is not None and high > 0


def _point(axis: Any, group: dict[str, Any], colour: str, marker: str) -> None:
    """An estimate with its interval as a bar; an upper limit as an arrow from the limit downwards."""
    x = 1000.0 / temperature_K(group)
    d = estimate_of(group["tracer_diffusivity_cm2_per_s"])
    assert d.high is not None
    if d.value is None or d.value <= 0:
        axis.plot([x], [d.high], marker="_", color=colour, ms=6, lw=0)
        axis.annotate("", (x, d.high / 5), (x, d.high), arrowprops={"arrowstyle": "->", "color": colour, "lw": 0.9})
        return
    low = max(d.low if d.low is not None else d.value, d.value * 1e-3)
    bars = [[d.value - low], [d.high - d.value]]
    axis.errorbar([x], [d.value], yerr=bars, fmt=marker, color=colour, capsize=2, lw=0.9, zorder=3)


def _line(axis: Any, fit: dict[str, Any], colour: str) -> None:
    """The fitted line: solid over the temperatures it was fitted to, dashed beyond, with its band."""
    band = [point for point in fit.get("band") or [] if None not in (point["value"], point["low"], point["high"])]
    if not band:
        return
    x = np.array([1000.0 / point["temperature_K"] for point in band])
    middle, low, high = (np.array([point[name] for point in band]) for name in ("value", "low", "high"))
    coldest = 1000.0 / min(fit["used"])
    inside = np.append(x[x < coldest], coldest)
    outside = np.append(coldest, x[x > coldest])

    def on_line(places: np.ndarray) -> np.ndarray:
        return np.exp(np.interp(places, x, np.log(middle)))

    axis.plot(inside, on_line(inside), color=colour, lw=1.1)
    if len(outside) > 1:
        axis.plot(outside, on_line(outside), color=colour, lw=0.9, ls=(0, (4, 2.5)))
    axis.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)


def _paper(axis: Any, points: list[dict[str, Any]]) -> None:
    if not points:
        return
    x = [1000 / p["temperature_K"] for p in points]
    y = [p["diffusivity_cm2_per_s"] for p in points]
    axis.plot(x, y, ls="none", marker="x", ms=4, mew=0.9, color=MUTED, label="paper, Nernst–Einstein", zorder=4)


def _frame(axis: Any, temperatures_K: list[float]) -> None:
    axis.set_yscale("log")
    axis.set_xlabel("1000 / $T$  (K$^{-1}$)")
    axis.set_ylabel("Na diffusivity  (cm$^2$ s$^{-1}$)")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, 1e-14), min(high, 1e-2))
    hottest = max(temperatures_K)
    axis.set_xlim(1000 / hottest - 0.12, max(axis.get_xlim()[1], 1000 / min(temperatures_K) + 0.15))
    top = axis.secondary_xaxis("top", functions=(_inverse, _inverse))
    left, right = axis.get_xlim()
    ticks = _spread([t for t in _TICKS_K if left < 1000 / t < right])
    top.set_xticks(ticks, [str(t) for t in ticks])
    top.minorticks_off()
    top.set_xlabel("$T$  (K)")
    axis.legend(loc="lower left")


def _spread(temperatures_K: list[int], most: int = 6) -> list[int]:
    """At most so many of the temperatures, hottest first, even on the 1000/T axis so that labels stay apart."""
    ordered = sorted(temperatures_K, reverse=True)
    if not ordered:
        return []
    apart = (1000 / ordered[-1] - 1000 / ordered[0]) / most
    kept = [ordered[-1]]
    for temperature in ordered[-2::-1]:
        if 1000 / kept[-1] - 1000 / temperature >= apart:
            kept.append(temperature)
    return kept


def _inverse(x: Any) -> Any:
    """1000/x and back; the axis asks for points beyond its own ends, zero among them."""
    x = np.asarray(x, dtype=float)
    return 1000.0 / np.where(np.abs(x) < 1e-6, 1e-6, x)


def _caption(result: dict[str, Any], with_paper: bool) -> str:
    text = "Tracer diffusivity of Na against inverse temperature. Bars are 95 % intervals; arrows are upper limits."
    if any(fit.get("band") for fit in result.get("arrhenius", [])):
        text += " Solid line: fit over the simulated temperatures; dashed: extrapolation; band: its 95 % interval."
    if with_paper:
        text += " Crosses: the paper's total conductivities at 25 °C as charge diffusivities (Nernst–Einstein)."
    return text


def _alt(series: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]) -> str:
    parts = []
    for label, (groups, fits) in series.items():
        for group in groups[:8]:
            d = interval(group["tracer_diffusivity_cm2_per_s"])
            parts.append(f"{label} at {temperature_K(group):.0f} K: {d} cm²/s")
        parts += [
            f"activation energy of {label}: {interval(fit.get('activation_energy_eV'), plain=True)} eV" for fit in fits
        ]
    return "Arrhenius plot of the Na tracer diffusivity. " + "; ".join(parts) + "."
