"""A campaign's numbers beside the publication's: one row for each structure and target."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.compare.judge import Judgement, judge_energy, judge_point
from atomflow.compare.ours import Series, estimate, series, temperature_K
from atomflow.compare.targets import Kind, Target, targets
from atomflow.errors import InputError, said
from atomflow.estimate import Estimate
from atomflow.paper.model import Paper, load
from atomflow.plain import Shown, table, to_jsonable
from atomflow.units import SIEMENS_PER_MILLISIEMENS

if TYPE_CHECKING:
    from atomflow.transport.campaign_result import CampaignResult

_GROUP_KEYS: dict[Kind, str] = {
    "conductivity": "conductivity_S_per_cm",
    "charge_diffusivity": "charge_diffusivity_cm2_per_s",
    "tracer_diffusivity": "tracer_diffusivity_cm2_per_s",
}

#: What every reader of the table should know.
NOTES = (
    "The publication prints no error bars: a number stands for its rounding, and an activation energy also for the "
    "unstated convention (ln σ or ln σT, 0.027 eV apart; ours, from ln D, pairs with ln σT).",
    "0.27, 0.45 and 0.33 eV can be read in two ways and both are shown. Under neither is one of them the activation "
    "energy of bulk NZSP.",
    "Molecular dynamics of a single crystal gives the grain part. The full cell never isolates it: R_SE holds grains "
    "and boundaries, R_total everything.",
    "Conductivity pairs with the diffusivity of charge. The tracer diffusivity is the Haven ratio times that.",
    "25-60 °C is monoclinic. A slope fitted above the transition (433-440 K) belongs to a phase with about half the "
    "activation energy, whichever intervals happen to touch.",
    "An interval of ours covers the statistics of the runs only: not the error of the potential (universal potentials "
    "soften barriers), of the Si/P order in the cell, or of its volume.",
)


@dataclass(frozen=True)
class Row:
    """One comparison. ``ours`` is in the unit of ``target``; ``verdict`` is ``numerical_relation`` where that means
    something, else "cannot say"."""

    target: Target
    structure: str
    ours: Estimate | None
    ours_conditions: str
    judgement: Judgement

    @property
    def numerical_relation(self) -> str | None:
        return self.judgement.relation

    @property
    def verdict(self) -> str:
        return self.judgement.verdict

    @property
    def why(self) -> str:
        return self.judgement.why

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.target.id,
            "quantity": self.target.quantity,
            "reading": self.target.reading,
            "structure": self.structure,
            "unit": self.target.unit,
            "paper": self.target.to_json(),
            "ours": None if self.ours is None else self.ours.to_json(),
            "ours_conditions": self.ours_conditions,
            "numerical_relation": self.numerical_relation,
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """All rows of a campaign, and the notes that go with them."""

    campaign: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = NOTES

    def text(self) -> str:
        """How the rows are judged, and those of them that have a number of ours; ``atomflow compare`` says why."""
        counts = Counter(row.verdict for row in self.rows)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        lines = [f"{self.campaign} beside the publication, {len(self.rows)} rows: {verdicts}"]
        rows = [[row.structure, row.target.quantity, row.target.reading or "", row.target.shown, f"{row.ours}",
                 row.verdict] for row in self.rows if row.ours is not None]
        if rows:
            lines.append(table(rows, ["structure", "quantity", "reading", "paper or literature", "ours", "verdict"]))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "comparison",
            "campaign": self.campaign,
            "rows": [row.to_json() for row in self.rows],
            "notes": list(self.notes),
        }


def compare(campaign: dict[str, Any] | CampaignResult | str | Path, paper: Paper | None = None) -> Comparison:
    """Hold a campaign result beside the publication.

    Args:
        campaign: what ``transport.analyze_campaign`` found, the folder that it would analyze, or the object that
            ``atomflow analyze DIR --json`` prints; it is not changed.
        paper: the publication as printed when not given.

    Raises:
        InputError: ``campaign`` is no campaign result.
    """
    if isinstance(campaign, (str, Path)):
        from atomflow.transport import analyze_campaign

        campaign = analyze_campaign(campaign)
    if hasattr(campaign, "to_json"):
        campaign = to_jsonable(campaign)
    if not isinstance(campaign, dict):
        raise InputError(f"compare takes what transport.analyze_campaign(folder) found, not {said(campaign)}")
    paper = paper or load()
    rows = [
        row
        for ours in series(campaign)
        for target in targets(paper)
        if (row := _row(target, ours, paper)) is not None
    ]
    return Comparison(str(campaign.get("name") or ""), tuple(rows))


def _row(target: Target, ours: Series, paper: Paper) -> Row | None:
    """None for a literature value away from 25 °C when no run was taken near its temperature."""
    if target.kind == "activation_energy":
        return Row(target, ours.label, ours.energy, _energy_conditions(ours), judge_energy(target, ours, paper))
    assert target.temperature_K is not None
    group = ours.near(target.temperature_K)
    number = estimate(group, _GROUP_KEYS[target.kind])
    if number is not None and target.kind == "conductivity":
        number = number.scaled(1.0 / SIEMENS_PER_MILLISIEMENS)
    at_room = target.temperature_K < 300.0
    if group is None and not at_room:
        return None
    extrapolated = number is None and target.kind == "charge_diffusivity" and ours.extrapolated is not None
    if extrapolated:
        number = ours.extrapolated
    where = f"{temperature_K(group):.0f} K, " if group is not None and not extrapolated else ""
    if extrapolated:
        where = f"tracer diffusivity extrapolated to {target.temperature_K:.0f} K, "
    return Row(target, ours.label, number, where + ours.describe(),
               judge_point(target, ours, number, extrapolated, paper))


def _energy_conditions(ours: Series) -> str:
    used = ours.used_K
    parts = [f"from ln D at {', '.join(f'{t:.0f}' for t in used)} K"] if used else []
    if ours.energy_sigmaT is not None:
        parts.append(f"from ln σT it is {ours.energy_sigmaT:.2g} eV")
    return ", ".join([*parts, ours.describe()])
