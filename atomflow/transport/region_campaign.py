"""A folder of runs by region: seeds pooled, and an Arrhenius line for every region along and across the boundary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.errors import AtomflowError, InputError
from atomflow.estimate import Estimate
from atomflow.plain import Shown
from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K, Limit, Line, Point, distance_in_words, fit
from atomflow.transport.campaign import about_branches, campaign_name, pooled_runs
from atomflow.transport.conductivity import siemens_per_cm
from atomflow.transport.diffusion import HOP_LENGTH_A
from atomflow.transport.local_walk import LocalD
from atomflow.transport.region_crossings import Passage, conductance_S_per_cm2
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
        density_per_A3: of ions in the region, mean over the runs. distance: in words.
    """

    structure: str
    region: str
    direction: str
    potential: str | None
    density_per_A3: float
    charge_e: float
    line: Line
    used: list[float]
    upper_limits: list[float]
    extrapolation: Estimate
    distance: str
    warnings: list[str]

    def conductivity_S_per_cm(self, temperature_K: float) -> Estimate:
        """Nernst–Einstein at any temperature; unknown without a line."""
        diffusivity = self.line.at(temperature_K)
        if diffusivity.value is None or self.density_per_A3 <= 0:
            return Estimate.unknown(self.line.level)
        return diffusivity.scaled(siemens_per_cm(1, 1.0 / self.density_per_A3, temperature_K, self.charge_e))

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.structure, "region": self.region, "direction": self.direction,
            "potential": self.potential,
            "activation_energy_eV": self.line.activation_energy_eV, "prefactor_cm2_per_s": self.line.prefactor,
            "used": self.used, "upper_limits": self.upper_limits,
            "extrapolation": {"temperature_K": ROOM_TEMPERATURE_K, "distance": self.distance,
                              "diffusivity_cm2_per_s": self.extrapolation,
                              "conductivity_S_per_cm": self.conductivity_S_per_cm(ROOM_TEMPERATURE_K)},
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class LayerLine:
    """ln of the flux through a layer between grains over 1/kT; see :mod:`~atomflow.transport.region_crossings`."""

    structure: str
    layer: str
    thickness_A: float
    line: Line
    used: list[float]
    upper_limits: list[float]
    charge_e: float
    warnings: list[str]

    def conductance_S_per_cm2(self, temperature_K: float) -> Estimate:
        """Of one layer at any temperature; unknown where fewer than two temperatures had passages."""
        flux = self.line.at(temperature_K)
        return flux if flux.value is None else flux.scaled(conductance_S_per_cm2(temperature_K, self.charge_e))

    def to_json(self) -> dict[str, Any]:
        room = self.conductance_S_per_cm2(ROOM_TEMPERATURE_K)
        return {"structure": self.structure, "layer": self.layer, "thickness_A": self.thickness_A,
                "activation_energy_eV": self.line.activation_energy_eV, "used": self.used,
                "upper_limits": self.upper_limits, "warnings": self.warnings,
                "extrapolation": {"temperature_K": ROOM_TEMPERATURE_K, "conductance_S_per_cm2": room}}


@dataclass(frozen=True, repr=False)
class RegionCampaignResult(Shown):
    """All groups by region, the lines of regions and of layers between grains, and the runs left out."""

    name: str
    groups: list[RegionGroup]
    arrhenius: list[RegionLine]
    layers: list[LayerLine]
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
                 f"{line.extrapolation:.2g}", f"{line.conductivity_S_per_cm(ROOM_TEMPERATURE_K):.2g}",
                 ", ".join(f"{t:.0f}" for t in line.used) or "-"] for line in self.arrhenius]
        if rows:
            parts.append("\n" + table(rows, ["structure", "region", "direction", "Ea, eV", "D at 298 K, cm²/s",
                                             "σ at 298 K, S/cm", "used, K"]))
        rows = [[line.structure, line.layer, f"{line.thickness_A:.1f}", f"{line.line.activation_energy_eV:.2f}",
                 f"{line.conductance_S_per_cm2(ROOM_TEMPERATURE_K):.2g}",
                 ", ".join(f"{t:.0f}" for t in line.used) or "-"] for line in self.layers]
        if rows:
            parts.append("\n" + table(rows, ["structure", "layer", "Å", "Ea, eV", "G at 298 K, S/cm²", "used, K"]))
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
                                _lines(groups, potentials, level, charge_e), _layers(groups, level, charge_e),
                                excluded, warnings)


def _layers(groups: list[tuple[str, RegionGroup]], level: float, charge_e: float) -> list[LayerLine]:
    series: dict[tuple[str, str, str], list[tuple[float, Passage]]] = defaultdict(list)
    for identity, group in groups:
        temperature = group.result.temperature_mean_K or group.result.temperature_K
        for passage in group.result.passages if temperature else ():
            series[group.structure, identity, passage.layer].append((temperature or 0.0, passage))
    found = []
    for (structure, _, layer), members in series.items():
        points = [Point(kelvin, *passage.ln_flux_moments) for kelvin, passage in members if passage.ln_flux_moments]
        limits = [Limit(kelvin, 0.0, passage.exposure_A2_ps) for kelvin, passage in members if passage.count < 1]
        line = fit(points, limits, level)
        thickness = sum(passage.thickness_A for _, passage in members) / len(members)
        found.append(LayerLine(structure, layer, thickness, line, [point.temperature_K for point in points],
                               [limit.temperature_K for limit in limits], charge_e, line.warnings))
    return found


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
    density = sum(found.density_per_A3 for _, found in members) / len(members)
    warnings = line.warnings + about_branches(used, None)
    if limits and used:
        warnings.append(f"{len(limits)} temperature(s) are upper limits; they enter the line as such, not as numbers")
    return RegionLine(structure, region, direction, potential, density, charge_e, line, used,
                      [limit.temperature_K for limit in limits], line.at(ROOM_TEMPERATURE_K),
                      distance_in_words(used) if used else "no temperature could be used", warnings)
