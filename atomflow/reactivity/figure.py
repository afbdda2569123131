"""The figure of a study: reaction energy over the mixing ratio, and computed beside measured enthalpies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from atomflow.reactivity.study import ReactivityResult

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_STYLES = ("-", "--", ":", "-.")


def draw_reactivity(result: ReactivityResult, path: Path) -> None:
    """Write the figure whole or not at all; no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1.0])
    _mixtures(left, result)
    _known(right, result)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    figure.savefig(partial, dpi=200)
    os.replace(partial, path)


def _mixtures(axis: Any, result: ReactivityResult) -> None:
    for s, item in enumerate(result.studies):
        for c, contact in enumerate(item.contacts):
            shares = [m.share for m in contact.mixtures]
            energies = [m.energy_eV_per_atom for m in contact.mixtures]
            axis.plot(shares, energies, _STYLES[s % 4], marker="o", ms=3, lw=1.0, color=_COLOURS[c % 6],
                      label=f"{contact.names[0]} + {contact.names[1]}, {item.name}")
            best = contact.strongest
            if item.error_eV_per_atom is not None:
                axis.errorbar(best.share, best.energy_eV_per_atom, item.error_eV_per_atom, color=_COLOURS[c % 6],
                              capsize=2, lw=0.8)
    axis.axhline(0.0, color="0.8", lw=0.6)
    axis.set(xlabel="atomic fraction of the first", ylabel="reaction energy / eV per atom")
    axis.legend(frameon=False, fontsize=7)


def _known(axis: Any, result: ReactivityResult) -> None:
    values = [v for item in result.studies for k in item.known
              for v in (k.measured_eV_per_atom, k.computed_eV_per_atom)]
    if not values:
        axis.set_axis_off()
        return
    ends = [min(values) - 0.05, max(values) + 0.05]
    axis.plot(ends, ends, color="0.8", lw=0.6)
    for s, item in enumerate(result.studies):
        axis.plot([k.measured_eV_per_atom for k in item.known], [k.computed_eV_per_atom for k in item.known],
                  "os^D"[s % 4], ms=4, mfc="none", color=_COLOURS[s % 6], label=item.name)
    axis.set(xlabel="measured enthalpy / eV per atom", ylabel="computed energy / eV per atom")
    axis.legend(frameon=False, fontsize=7)
