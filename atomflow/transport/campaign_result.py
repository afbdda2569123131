"""What the analysis of a folder of runs says: groups of seeds, Arrhenius lines, replicas, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import Any

from atomflow.estimate import Estimate
from atomflow.plain import Shown, table, with_error
from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K, Line
from atomflow.transport.kink import Kink
from atomflow.transport.replicas import ReplicaGroup
from atomflow.transport.result import TransportResult


@dataclass(frozen=True)
class Group:
    """Seeds of one structure at one temperature."""

    structure: str
    result: TransportResult

    def to_json(self) -> dict[str, Any]:
        return {**self.result.to_json(), "structure": self.structure}


@dataclass(frozen=True, repr=False)
class Arrhenius(Shown):
    """The line of one structure: of D, and of σT from the charge diffusivity."""

    structure: str
    potential: str | None
    line: Line
    sigma_line: Line
    temperatures_K: list[float]
    used: list[float]
    upper_limits: list[float]
    kink: Kink | None
    extrapolation: Estimate
    distance: str
    warnings: list[str]

    @property
    def activation_energy_eV(self) -> Estimate:
        """Ea from ln D."""
        return self.line.activation_energy_eV

    @property
    def activation_energy_sigmaT_eV(self) -> Estimate:
        """Ea from ln σT, of the charge diffusivity."""
        return self.sigma_line.activation_energy_eV

    def text(self) -> str:
        """For people, as ``atomflow analyze`` prints it."""
        used = "no temperature"
        if self.used:
            used = f"{len(self.used)} temperatures from {min(self.used):.0f} to {max(self.used):.0f} K"
        lines = [f"{self.structure} with {self.potential or 'an unknown potential'}: Ea {_eV(self.line)} from ln D; "
                 f"{_eV(self.sigma_line)} from ln σT; {used}",
                 f"  D at 298.15 K: {self.extrapolation:.2g} cm²/s, {self.distance}"]
        if self.kink:
            lines.append(f"  kink at {self.kink.temperature_K:.0f} K: p = {self.kink.p_value:.2g}"
                         f" ({'two branches' if self.kink.significant else 'one line is enough'})")
        return "\n".join(lines + [f"  note: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.structure,
            "potential": self.potential,
            "activation_energy_eV": self.activation_energy_eV.to_json(),
            "activation_energy_sigmaT_eV": self.activation_energy_sigmaT_eV.to_json(),
            "prefactor_cm2_per_s": self.line.prefactor.to_json(),
            "temperatures_K": self.temperatures_K,
            "used": self.used,
            "upper_limits": self.upper_limits,
            "chi2": self.line.chi2,
            "degrees_of_freedom": self.line.dof,
            "error_scale": self.line.inflation,
            "kink": self.kink.to_json() if self.kink else None,
            "extrapolation": {"temperature_K": ROOM_TEMPERATURE_K, "distance": self.distance,
                              "tracer_diffusivity_cm2_per_s": self.extrapolation.to_json()},
            "warnings": self.warnings,
        }


@dataclass(frozen=True, repr=False)
class CampaignResult(Shown):
    """All groups of a campaign, their Arrhenius lines, the runs left out, and sets of replicas as one each."""

    name: str
    groups: list[Group]
    arrhenius: list[Arrhenius]
    excluded: list[dict[str, str]]
    warnings: list[str] = field(default_factory=list)
    replicas: list[ReplicaGroup] = field(default_factory=list)
    replica_lines: dict[str, Line] = field(default_factory=dict)

    def text(self) -> str:
        """For people, as ``atomflow analyze`` prints it."""
        rows = []
        for group in self.groups:
            one = group.result
            mean = one.temperature_mean_K
            measured = with_error(mean, one.temperature_error_K, ".0f") if mean else "-"
            rows.append([group.structure, f"{one.temperature_K or 0:g}", measured, str(one.n_runs),
                         f"{one.total_time_ps:.3g}", f"{one.tracer_diffusivity_cm2_per_s:.2g}",
                         f"{one.conductivity_S_per_cm:.2g}", f"{one.haven_ratio:.2g}",
                         f"{one.fit_window_ps[0]:.2g}-{one.fit_window_ps[1]:.3g}"])
        header = ["structure", "T/K", "measured/K", "runs", "ps", "tracer D, cm²/s", "σ, S/cm", "Haven ratio",
                  "window/ps"]
        lines = [f"campaign {self.name}", table(rows, header) if rows else "no group could be analyzed"]
        lines += _replica_text(self)
        for line in self.arrhenius:
            lines += ["", line.text()]
        notes = {text: group for group in self.groups for text in group.result.warnings}
        lines += [f"warning ({group.structure}, {group.result.temperature_K or 0:g} K): {text}"
                  for text, group in notes.items()]
        lines += [f"left out: {item['run']}: {item['reason']}" for item in self.excluded]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        lines = {name: line.activation_energy_eV.to_json() for name, line in self.replica_lines.items()}
        return {"kind": "campaign", "name": self.name, "groups": [group.to_json() for group in self.groups],
                "arrhenius": [line.to_json() for line in self.arrhenius], "excluded": self.excluded,
                "warnings": self.warnings, "replicas": [group.to_json() for group in self.replicas],
                "replica_activation_energies_eV": lines}


def _eV(line: Line) -> str:
    energy = line.activation_energy_eV
    return "unknown" if energy.high is None else f"{energy:.3f} eV"


def _replica_text(result: CampaignResult) -> list[str]:
    """Sets of replicas, each as one structure."""
    if not result.replicas:
        return []
    rows = [[one.name, f"{one.temperature_K:.0f}", ", ".join(one.structures), f"{one.tracer_diffusivity_cm2_per_s:.2g}",
             "-" if one.between is None else f"× {exp(one.between):.2g}"] for one in result.replicas]
    lines = ["", "replicas (structures that differ in nothing but seeds) as one",
             table(rows, ["set", "T/K", "replicas", "tracer D, cm²/s", "scatter between them"])]
    return lines + [f"{name}: Ea {_eV(line)} from ln D"
                    for name, line in result.replica_lines.items()]
