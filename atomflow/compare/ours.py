"""What a campaign offers for comparison, one :class:`Series` for each structure (and potential, where several)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.units import BOLTZMANN_EV_PER_K

#: A run counts as taken at a temperature when this barrier would shift its diffusivity by at most this fraction.
SHIFT_BARRIER_EV = 0.35
SHIFT_ALLOWED = 0.1
ANGLE_TOLERANCE_DEG = 0.5
#: A bend of the Arrhenius line counts below this p-value.
KINK_P = 0.05


@dataclass(frozen=True)
class Series:
    """One structure under one potential: its temperature groups and its Arrhenius fit (None where there is none)."""

    label: str
    groups: tuple[dict[str, Any], ...]
    arrhenius: dict[str, Any] | None

    @property
    def energy(self) -> Estimate | None:
        """Ea from ln D."""
        return _estimate(self.arrhenius, "activation_energy_eV")

    @property
    def used_K(self) -> tuple[float, ...]:
        """Temperatures with a measured diffusivity in the fit; without a fit, of all groups."""
        if self.arrhenius is None:
            return tuple(sorted(t for t in map(temperature_K, self.groups) if t is not None))
        return tuple(sorted(float(t) for t in self.arrhenius.get("used") or ()))

    @property
    def has_kink(self) -> bool:
        """Whether the line bends, by the transport analysis' own test."""
        kink = (self.arrhenius or {}).get("kink") or {"significant": False}
        return bool(kink.get("significant", kink.get("p_value", 0.0) < KINK_P))

    @property
    def energy_sigmaT(self) -> Estimate | None:
        """Ea from ln σT, that is from the diffusivity of charge."""
        return _estimate(self.arrhenius, "activation_energy_sigmaT_eV")

    @property
    def extrapolated(self) -> Estimate | None:
        """Tracer diffusivity at 298.15 K off the line, cm²/s."""
        return _estimate((self.arrhenius or {}).get("extrapolation"), "tracer_diffusivity_cm2_per_s")

    @property
    def distance(self) -> str:
        """How far 298.15 K is from the runs, in the words of the transport analysis."""
        return str(((self.arrhenius or {}).get("extrapolation") or {}).get("distance") or "")

    @property
    def foreign_regions(self) -> list[str]:
        """Regions of the cell that are not crystal: its transport is then a mixture of regions."""
        regions = {name for group in self.groups for name in (group.get("cell") or {}).get("regions") or {}}
        return sorted(regions - {"bulk", "grain_a", "grain_b"})

    @property
    def formulas(self) -> list[str]:
        """Formulas of the simulated cells, where recorded."""
        return sorted({str(cell["formula"]) for g in self.groups if (cell := g.get("cell") or {}).get("formula")})

    @property
    def is_hexagonal(self) -> bool:
        """Whether the cells have the metric of the rhombohedral phase in its hexagonal setting: 90°, 90°, 120°."""
        angles = [sorted(cell["angles_deg"]) for g in self.groups if (cell := g.get("cell") or {}).get("angles_deg")]
        return bool(angles) and all(
            abs(found - expected) <= ANGLE_TOLERANCE_DEG
            for cell in angles for found, expected in zip(cell, (90.0, 90.0, 120.0), strict=True)
        )

    def near(self, temperature: float) -> dict[str, Any] | None:
        """The group taken at ``temperature`` (K), within :func:`tolerance_K`; the closest of several."""
        close = [(abs(t - temperature), i) for i, t in enumerate(map(temperature_K, self.groups)) if t is not None]
        if not close or min(close)[0] > tolerance_K(temperature):
            return None
        return self.groups[min(close)[1]]

    def describe(self) -> str:
        """Potential, cell and total time, as a figure caption would give them."""
        if not self.groups:
            return "no runs"
        group = self.groups[0]
        cell = group.get("cell") or {}
        parts = [f"potential {_potential(group) or 'not recorded'}"]
        if cell.get("formula"):
            parts.append(f"cell {cell['formula']}, {cell.get('n_atoms', '?')} atoms{_volume(cell)}")
        parts.append(f"{sum(g.get('total_time_ps') or 0.0 for g in self.groups):.4g} ps in all")
        return ", ".join(parts)


def series(campaign: dict[str, Any]) -> list[Series]:
    """The series of a campaign result (the JSON shape of ``atomflow analyze DIR --json``).

    A campaign without a result has one series without numbers, so that the publication's still stand in the table.

    Raises:
        InputError: not a campaign result.
    """
    if campaign.get("kind") != "campaign" or not isinstance(campaign.get("groups"), list):
        raise InputError("a campaign result is needed for a comparison (analyze a campaign folder, not a single run)")
    groups, fits = campaign["groups"], list(campaign.get("arrhenius") or [])
    found, covered = [], set()
    for fit in fits:
        own = [g for g in groups if _belongs(g, fit)]
        covered |= {id(g) for g in own}
        label = str(fit.get("structure", ""))
        if sum(other.get("structure") == fit.get("structure") for other in fits) > 1:
            label += f" ({_potential(fit) or 'potential not recorded'})"
        found.append(Series(label, tuple(own), fit))
    for structure in dict.fromkeys(str(g.get("structure", "")) for g in groups if id(g) not in covered):
        own = [g for g in groups if id(g) not in covered and str(g.get("structure", "")) == structure]
        found.append(Series(structure, tuple(own), None))
    return found or [Series("no result yet", (), None)]


def composition(formula: str) -> dict[str, float]:
    """Atomic fractions of a formula such as ``Na12Zr8Si8P4O48``."""
    counts: dict[str, float] = {}
    for element, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        counts[element] = counts.get(element, 0.0) + float(number or 1)
    total = sum(counts.values())
    return {element: count / total for element, count in counts.items()}


def temperature_K(group: dict[str, Any]) -> float | None:
    """The temperature the atoms had where it was recorded, else the one asked for."""
    return group.get("temperature_mean_K") or group.get("temperature_K")


def tolerance_K(temperature: float) -> float:
    """How far from ``temperature`` a run may be and still count as taken there: 2 K at 298 K, 9 K at 600 K."""
    return SHIFT_ALLOWED * BOLTZMANN_EV_PER_K * temperature**2 / SHIFT_BARRIER_EV


def estimate(group: dict[str, Any] | None, name: str) -> Estimate | None:
    """A named estimate of a group; None where it is absent or unknown."""
    return _estimate(group, name)


def _estimate(holder: dict[str, Any] | None, name: str) -> Estimate | None:
    data = (holder or {}).get(name)
    if not data:
        return None
    found = Estimate.from_json(data)
    return None if found.value is None and found.high is None else found


def _belongs(group: dict[str, Any], fit: dict[str, Any]) -> bool:
    """Same structure, and same potential where the fit names one."""
    if group.get("structure") != fit.get("structure"):
        return False
    return _potential(fit) in (None, _potential(group))


def _potential(holder: dict[str, Any]) -> str | None:
    """Name of the potential of a group or a fit, written as a name or as an identity."""
    potential = holder.get("potential")
    return potential.get("name") if isinstance(potential, dict) else potential


def _volume(cell: dict[str, Any]) -> str:
    volume = cell.get("volume_A3")
    return f", {volume:.1f} Å3" if isinstance(volume, (int, float)) else ""
