"""The harmonic D of single hops beside the D that molecular dynamics measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.estimate import Estimate
from atomflow.lattice.network import HopKind, NetworkResult, network
from atomflow.plain import Shown, table
from atomflow.units import BOLTZMANN_EV_PER_K

#: What a difference may come from; printed with every comparison.
LIMITS = (
    "the walker is alone: one ion, or one vacancy, on an otherwise empty or full lattice; in NZSP ions move together",
    "harmonic: sites and saddles of one relaxed cell at 0 K; the framework does not give way as it does when hot",
    "a vacancy's D is turned into that of the ions by the vacant sites of the composition: what it costs to make a "
    "vacancy on these sites is left out, and so is a correlation factor (below 1)",
)


@dataclass(frozen=True)
class Beside:
    """One temperature of one structure: ``ratio`` is harmonic over MD, unknown where either is."""

    structure: str
    temperature_K: float
    md_cm2_per_s: Estimate
    harmonic_cm2_per_s: Estimate

    @property
    def ratio(self) -> Estimate:
        """Its interval adds those of both in quadrature, in ln D."""
        ours, theirs = self.harmonic_cm2_per_s, self.md_cm2_per_s
        if not ours.value or not theirs.value:
            return Estimate.unknown(theirs.level)
        value = ours.value / theirs.value
        if not ours.low or not ours.high or not theirs.low or not theirs.high:
            return Estimate(value, None, None, theirs.level)
        down = np.hypot(np.log(ours.value / ours.low), np.log(theirs.high / theirs.value))
        up = np.hypot(np.log(ours.high / ours.value), np.log(theirs.value / theirs.low))
        return Estimate(value, float(value * np.exp(-down)), float(value * np.exp(up)), theirs.level)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "ratio": self.ratio}


@dataclass(frozen=True, repr=False)
class BesideResult(Shown):
    """All temperatures; ``energies``: structure → (Ea of MD, slope of the harmonic D over the same temperatures)."""

    rows: tuple[Beside, ...]
    energies: dict[str, tuple[Estimate, float | None]]
    potential: str | None
    limits: tuple[str, ...]
    warnings: tuple[str, ...]

    def text(self) -> str:
        """For people, as ``atomflow hop --beside`` prints it."""
        rows = [[row.structure, f"{row.temperature_K:.0f}", f"{row.md_cm2_per_s:.2g}", f"{row.harmonic_cm2_per_s:.2g}",
                 f"{row.ratio:.2g}"] for row in self.rows]
        lines = [f"harmonic D of single hops ({self.potential}) beside that of dynamics",
                 table(rows, ["structure", "T/K", "D of MD, cm²/s", "harmonic", "ratio"])]
        lines += [f"{name}: Ea {energy:.2f} eV of MD, {'unknown' if slope is None else f'{slope:.2f} eV'} harmonic"
                  for name, (energy, slope) in self.energies.items()]
        lines += [f"limit: {text}" for text in self.limits]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def beside(cell: Cell, hops: Sequence[HopKind], potential: str, campaign: str | Path, discard_ps: float = 0.0,
           say: Callable[[str], None] | None = None, barrier_error_eV: float | None = None) -> BesideResult:
    """Compare with every group of a campaign folder.

    Args:
        cell, hops, barrier_error_eV: as in :func:`~atomflow.lattice.network.network`.
        potential: name of the one that the hops were found with.

    Raises:
        InputError: there is no run in the folder.
    """
    from atomflow.transport import analyze_campaign

    found = analyze_campaign(campaign, discard_ps=discard_ps, progress=say)
    rows = []
    for group in found.groups:
        kelvin = group.result.actual_temperature_K
        if kelvin:
            harmonic = network(cell, hops, [kelvin], barrier_error_eV).rows[0]["tracer_cm2_per_s"]
            rows.append(Beside(group.structure, kelvin, group.result.tracer_diffusivity_cm2_per_s, harmonic))
    energies = {line.structure: (line.line.activation_energy_eV, _slope(network(cell, hops, line.used)))
                for line in found.arrhenius if len(line.used) > 1}
    used = {(group.result.potential or {}).get("name") for group in found.groups} - {None}
    warnings = [f"the runs are with {', '.join(sorted(map(str, used)))}, the hops with {potential}: part of any "
                "difference is the potential's"] if used and used != {potential} else []
    return BesideResult(tuple(rows), energies, potential, LIMITS, tuple(warnings))


def _slope(result: NetworkResult) -> float | None:
    """−d ln D/d(1/kT) between the coldest and the hottest row, eV."""
    rows = [(row["temperature_K"], row["diffusivity_cm2_per_s"]) for row in result.rows]
    (cold, slow), (hot, fast) = min(rows), max(rows)
    if slow <= 0:
        return None
    return float(np.log(fast / slow) * BOLTZMANN_EV_PER_K / (1.0 / cold - 1.0 / hot))
