"""A folder of runs by region: seeds pooled, and an Arrhenius line for every region along and across the boundary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.errors import AtomflowError, InputError
from atomflow.estimate import Estimate
from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K, Limit, Line, Point, distance_in_words, fit
from atomflow.transport.campaign import about_branches, campaign_name, pooled_runs
from atomflow.transport.conductivity import siemens_per_cm
from atomflow.transport.diffusion import HOP_LENGTH_A
from atomflow.transport.local_walk import LocalD
from atomflow.transport.regions import RegionResult, RegionTransport, analyze_regions

DIRECTIONS = ("along", "across")


@dataclass(frozen=True)
class RegionGroup:
    """Seeds of one structure at one temperature."""

    structure: str
    result: RegionResult

    def to_json(self) -> dict[str, Any]:
        return {**self.result.to_json(), "structure": self.structure}


@dataclass(frozen=True)
class RegionLine:
    """ln D of one region and direction over 1/kT.

    Attributes:
        used, upper_limits: temperatures. extrapolation: D at 298.15 K in cm²/s.
        conductivity_S_per_cm: Nernst–Einstein at 298.15 K, with the mean density of the region. distance: in words.
    """

    structure: str
    region: str
    direction: str
    potential: str | None
    line: Line
    used: list[float]
    upper_limits: list[float]
    extrapolation: Estimate
    conductivity_S_per_cm: Estimate
    distance: str
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.structure, "region": self.region, "direction": self.direction,
            "potential": self.potential,
            "activation_energy_eV": self.line.activation_energy_eV, "prefactor_cm2_per_s": self.line.prefactor,
            "used": self.used, "upper_limits": self.upper_limits,
            "extrapolation": {"temperature_K": ROOM_TEMPERATURE_K, "distance": self.distance,
                              "diffusivity_cm2_per_s": self.extrapolation,
                              "conductivity_S_per_cm": self.conductivity_S_per_cm},
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class RegionCampaignResult:
    """All groups by region, their lines, and the runs left out."""

    name: str
    groups: list[RegionGroup]
    arrhenius: list[RegionLine]
    excluded: list[dict[str, str]]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "region-campaign", **self.__dict__}

    def text(self) -> str:
        """For people."""
        from atomflow.plain import table

        parts = [f"campaign {self.name}, by region"]
        for group in self.groups:
            parts.append(f"\n{group.structure}: {group.result.text()}")
        rows = [[line.structure, line.region, line.direction, f"{line.line.activation_energy_eV:.2f}",
                 f"{line.extrapolation:.2g}", f"{line.conductivity_S_per_cm:.2g}",
                 ", ".join(f"{t:g}" for t in line.used) or "-"] for line in self.arrhenius]
        if rows:
            parts.append("\n" + table(rows, ["structure", "region", "direction", "Ea, eV", "D at 298 K, cm²/s",
                                             "σ at 298 K, S/cm", "used, K"]))
        parts += [f"note ({line.structure}, {line.region}, {line.direction}): {text}" for line in self.arrhenius
                  for text in line.warnings]
        parts += [f"left out: {item['run']}: {item['reason']}" for item in self.excluded]
        return "\n".join(parts + [f"warning: {text}" for text in self.warnings])


def analyze_region_campaign(
    folder: str | Path,
    species: str = "Na",
    along: str = "z",
    discard_ps: float = 0.0,
    memory_MB: float = 500.0,
    level: float = 0.95,
    hop_length_A: float = HOP_LENGTH_A,
    charge_e: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> RegionCampaignResult:
    """Resolve every structure of a campaign by region, seeds pooled.

    Structures of a single region, and groups that cannot be resolved, are left out by name.

    Raises:
        InputError: there is no run in the folder, or none that has regions.
    """
    folder = Path(folder)
    pools, excluded, found = pooled_runs(folder, discard_ps)
    groups: list[tuple[str, RegionGroup]] = []
    for (structure, temperature, identity, _), pool in sorted(pools.items()):
        if progress:
            progress(f"{structure} at {temperature:g} K: {len(pool)} run(s)")
        try:
            result = analyze_regions(pool, species, along, discard_ps, memory_MB, level, hop_length_A, charge_e)
            groups.append((identity, RegionGroup(structure, result)))
        except AtomflowError as error:
            excluded += [{"run": Path(str(run.source)).name, "reason": str(error)} for run in pool]
    if not groups:
        why = f": {excluded[0]['reason']}" if excluded else ""
        raise InputError(f"{folder}: no run can be resolved by region{why}")
    warnings = [f"{len(excluded)} of {found} runs were left out; the reasons are listed"] if excluded else []
    potentials = {identity: (pool[0].potential or {}).get("name") for (_, _, identity, _), pool in pools.items()}
    return RegionCampaignResult(campaign_name(folder), [group for _, group in groups],
                                _lines(groups, potentials, level, charge_e), excluded, warnings)


def _lines(groups: list[tuple[str, RegionGroup]], potentials: dict[str, str | None], level: float,
           charge_e: float) -> list[RegionLine]:
    series: dict[tuple[str, str, str], list[tuple[float, RegionTransport]]] = defaultdict(list)
    for identity, group in groups:
        temperature = group.result.temperature_mean_K or group.result.temperature_K
        if temperature:
            for region in group.result.regions:
                series[group.structure, identity, region.region].append((temperature, region))
    return [_line(structure, region, direction, potentials[identity], members, level, charge_e)
            for (structure, identity, region), members in series.items() for direction in DIRECTIONS]


def _line(structure: str, region: str, direction: str, potential: str | None,
          members: list[tuple[float, RegionTransport]], level: float, charge_e: float) -> RegionLine:
    points, limits = [], []
    for temperature, found in members:
        local: LocalD = getattr(found, direction)
        if local.ln_moments is not None:
            points.append(Point(temperature, *local.ln_moments))
        elif local.estimate.is_upper_limit:
            limits.append(Limit(temperature, local.hops, local.exposure_s_per_cm2))
    line = fit(points, limits, level)
    used = [point.temperature_K for point in points]
    room = line.at(ROOM_TEMPERATURE_K)
    density = sum(found.density_per_A3 for _, found in members) / len(members)
    sigma = Estimate.unknown(level)
    if room.value is not None and density > 0:
        sigma = room.scaled(siemens_per_cm(1, 1.0 / density, ROOM_TEMPERATURE_K, charge_e))
    warnings = line.warnings + about_branches(used, None)
    if limits and used:
        warnings.append(f"{len(limits)} temperature(s) are upper limits; they enter the line as such, not as numbers")
    return RegionLine(structure, region, direction, potential, line, used, [limit.temperature_K for limit in limits],
                      room, sigma, distance_in_words(used) if used else "no temperature could be used", warnings)
