"""Adding runs to a campaign until its activation energies are known well enough, or the budget is spent.

An increment is one more seed at one of the campaign's temperatures: a task of its own, named after its inputs like any
other, pooled with its siblings by the analysis. What has been computed is never reopened.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomflow.campaign import driver
from atomflow.campaign import folder as places
from atomflow.campaign.allocation import Arm, energy_variance, misfits, spend
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.control import recorded
from atomflow.campaign.estimates import GroupEstimate, StructureEstimate, estimates
from atomflow.campaign.queue import in_queue, submissions
from atomflow.campaign.slurm import submit
from atomflow.campaign.state import CampaignStatus, status
from atomflow.campaign.tasks import Extension
from atomflow.errors import InputError, RunFailed, check_positive
from atomflow.plain import Shown
from atomflow.runs.manifest import read_manifest
from atomflow.units import BOLTZMANN_EV_PER_K

Runner = Callable[[CampaignConfig, Path], Any]


@dataclass(repr=False)
class ExtensionResult(Shown):
    """How :func:`extend` ended.

    Attributes:
        met: whether every structure is within the target. spent_hours: of computing, for the runs added.
        added: the runs added. estimates: the activation energies at the end.
        jobs: what was handed to SLURM. waiting: how many tasks are with it; then neither end has been reached yet.
    """

    target_eV: float
    met: bool
    spent_hours: float
    budget_hours: float | None
    added: list[Extension]
    estimates: list[StructureEstimate]
    missing: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    waiting: int = 0

    def text(self) -> str:
        """The lines of the structures, and which end it was."""
        if self.waiting:
            handed = f"{len(self.added)} runs added, handed in as job {', '.join(self.jobs)}; " if self.jobs else ""
            words = f"{handed}{self.waiting} tasks are with SLURM; the same command goes on when they are done"
            return "\n".join([*(item.line() for item in self.estimates), words])
        if self.met:
            why = f"target met: every activation energy is known to ±{self.target_eV:g} eV or better"
        else:
            why = (f"budget spent: ±{self.target_eV:g} eV is not reached for {', '.join(self.missing)}; no further run "
                   f"fits into {self.budget_hours:g} h")
        return "\n".join([*(item.line() for item in self.estimates),
                          f"{why} ({len(self.added)} runs added, {self.spent_hours:.3g} h of computing)"])

    def to_json(self) -> dict[str, Any]:
        return {"met": self.met, "target_eV": self.target_eV, "spent_hours": self.spent_hours,
                "budget_hours": self.budget_hours, "missing": self.missing, "added": [vars(run) for run in self.added],
                "jobs": self.jobs, "waiting": self.waiting,
                "estimates": [item.to_json() for item in self.estimates]}


def extend(
    folder: str | Path,
    target_eV: float,
    budget_hours: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[CampaignStatus], None] | None = None,
    runner: Runner | None = None,
) -> ExtensionResult:
    """Finish the campaign in ``folder``, then add runs until the half interval of every Ea is at most ``target_eV``.

    After each round all intervals are computed anew, and the next round goes where it lowers the variance of Ea most
    per hour. A round is as many runs as go side by side on this machine, in processes or in batches.

    Args:
        budget_hours: of computing (summed over processes) for the runs added; None for no bound.
        say: called with one line a round.
        runner: does what is not done of a configuration in a folder; :func:`atomflow.campaign.run` by default.

    Raises:
        InputError: wrong numbers, no campaign folder, or one temperature only.
        RunStopped, RunFailed: as :func:`atomflow.campaign.run`; RunFailed also when added runs cannot be used.
    """
    folder = Path(folder)
    config = recorded(folder)
    _check(folder, config, target_eV, budget_hours)
    work = runner or (lambda settings, place: driver.run(settings, place, progress))
    added: list[Extension] = []
    spent = 0.0
    while True:
        work(config, folder)
        now = estimates(folder, status(folder, estimate=False).tasks)
        _refuse_useless(added, now)
        costs = _Costs(folder)
        spent = sum(costs.of(run) for run in added)
        missing = [item for item in now if item.half_width_eV > target_eV]
        left = math.inf if budget_hours is None else budget_hours - spent
        share = max(1, _side_by_side(config, now) // max(1, len(missing)))
        chosen = _choose(folder, config, missing, costs, target_eV, left, share)
        if not chosen:
            return ExtensionResult(target_eV, not missing, spent, budget_hours, added, now,
                                   [item.structure for item in missing])
        for item in missing:
            say(item.line())
        say(f"{len(chosen)} more: " + ", ".join(f"{run.structure} {run.temperature_K:g} K seed {run.seed}"
                                                for run in chosen))
        places.extend(folder, chosen)
        added += chosen


def _side_by_side(config: CampaignConfig, now: Sequence[StructureEstimate]) -> int:
    """Runs at a time; where a GPU's batch is still to be measured, as many as there are so far."""
    if not driver.packed(config):
        return driver.processes(config)
    packing = config.resources.packing
    return sum(item.runs for item in now) if isinstance(packing, str) else packing * driver.processes(config)


def extend_on_slurm(
    folder: str | Path, target_eV: float, budget_hours: float | None = None, say: Callable[[str], None] = lambda _: None
) -> ExtensionResult:
    """One round of :func:`extend`, handed to SLURM; returns at once, and the same call goes on when it is done.

    What is not done yet is handed in first. Then a round is what is expected to suffice, but no more runs of a
    structure than it has: their variances are not known well enough to plan further.

    Args:
        budget_hours: of computing, for all runs that were ever added.

    Raises:
        InputError, RunFailed: as :func:`extend`, and as :func:`atomflow.campaign.submit`.
    """
    folder = Path(folder)
    config = recorded(folder)
    _check(folder, config, target_eV, budget_hours)
    added, before = places.extensions(folder), len(in_queue(folder))
    jobs = [] if before else submit(config, folder)
    now = estimates(folder, [task for task in status(folder, estimate=False).tasks if task.state == "done"])
    costs = _Costs(folder)
    spent = sum(costs.of(run) for run in added)
    missing = [item for item in now if item.half_width_eV > target_eV]
    names = [item.structure for item in missing]
    if before or jobs:
        return ExtensionResult(target_eV, False, spent, budget_hours, [], now, names, jobs,
                               before or _handed_in(folder, jobs))
    _refuse_useless(added, now)
    left = math.inf if budget_hours is None else budget_hours - spent
    chosen = [run for item in missing
              for run in _choose(folder, config, [item], costs, target_eV, left / len(missing), max(1, item.runs))]
    if chosen:
        for item in missing:
            say(item.line())
        places.extend(folder, chosen)
        jobs = submit(config, folder)
    return ExtensionResult(target_eV, not missing, spent, budget_hours, chosen, now, names, jobs,
                           _handed_in(folder, jobs))


def _handed_in(folder: Path, jobs: list[str]) -> int:
    """How many tasks these jobs have."""
    return sum(len(tasks) for item in submissions(folder) if item["job"] in jobs for tasks in item["elements"])


def _check(folder: Path, config: CampaignConfig, target_eV: float, budget_hours: float | None) -> None:
    check_positive("the target error in eV", target_eV)
    if budget_hours is not None:
        check_positive("the budget in hours", budget_hours)
    still = [name for name, cell in places.read(folder)["structures"].items()
             if "Na" not in re.findall("[A-Z][a-z]?", cell.get("formula", "Na"))]
    if still:
        raise InputError(f"the activation energy is that of Na, and there is none in {', '.join(still)}")
    if len(config.temperatures_K) < 2:
        raise InputError("an activation energy needs two temperatures at least; add some to temperatures_K of the "
                         "campaign file and run it into the same folder first")


def _refuse_useless(added: Sequence[Extension], now: Sequence[StructureEstimate]) -> None:
    """Runs that the analysis leaves out would be added for ever."""
    for item in now:
        for group in item.groups:
            mine = [run for run in added if (run.structure, run.temperature_K) == (item.structure, group.temperature_K)]
            if mine and group.left_out and len(group.left_out) >= len(group.runs):
                name, reason = list(group.left_out.items())[-1]
                raise RunFailed(f"runs of {item.structure} at {group.temperature_K:g} K cannot be used ({name}: "
                                f"{reason}); what is done is kept; mend the settings in a new campaign")


class _Costs:
    """Hours of computing of a run, from the speeds of those that are done."""

    def __init__(self, folder: Path) -> None:
        self._hours: dict[tuple[str, float], list[float]] = {}
        for task in status(folder, estimate=False).tasks:
            if task.state != "done":
                continue
            summary = read_manifest(places.run_folder(folder, task.id))["summary"]
            speed = summary.get("steps_per_s", 0.0) * summary.get("systems_in_batch", 1)  # a batch shares its time
            if speed:
                key = task.structure, task.temperature_K
                self._hours.setdefault(key, []).append(task.steps_total / speed / 3600)

    def of(self, run: Extension) -> float:
        known = self._hours.get((run.structure, run.temperature_K)) or [h for hs in self._hours.values() for h in hs]
        return statistics.fmean(known) if known else 1.0


def _choose(
    folder: Path, config: CampaignConfig, missing: Sequence[StructureEstimate], costs: _Costs, target_eV: float,
    hours: float, share: int,
) -> list[Extension]:
    """The next round of the structures that are not there yet: at most ``share`` runs each."""
    used = {(task.structure, task.temperature_K, task.seed) for task in status(folder, estimate=False).tasks}
    chosen: list[Extension] = []
    for item in missing:
        arms = _arms(config, item, costs)
        temperatures = sorted(config.temperatures_K)
        wanted = _variance(item, arms, target_eV)
        for index in spend(arms, share, wanted, hours) or spend(arms, 1, 0.0, hours):
            seed = 1
            while (item.structure, temperatures[index], seed) in used:
                seed += 1
            used.add((item.structure, temperatures[index], seed))
            chosen.append(Extension(item.structure, temperatures[index], seed))
            hours -= arms[index].hours
    return chosen


def _variance(item: StructureEstimate, arms: list[Arm], target_eV: float) -> float:
    """The variance by the arms' measure that corresponds to the target, going by how the two compare now."""
    if not math.isfinite(item.half_width_eV):
        return 0.0
    return energy_variance(arms) * (target_eV / item.half_width_eV) ** 2


def _arms(config: CampaignConfig, item: StructureEstimate, costs: _Costs) -> list[Arm]:
    """One arm a temperature, coldest first. Where nothing was measured, the line (or the hops seen) says how many hops
    a run would see, and the measured temperatures how the variance goes with hops."""
    groups = {group.temperature_K: group for group in item.groups}
    measured = [group for group in item.groups if group.ln_diffusivity]
    scatter = statistics.median([group.ln_diffusivity[1] ** 2 * max(group.hops, 1.0) for group in measured
                                 if group.ln_diffusivity] or [2.0])
    misfit = _misfits(measured)
    arms = []
    for temperature in sorted(config.temperatures_K):
        group = groups.get(temperature)
        runs = len(group.runs) if group else 0
        if group and group.ln_diffusivity:
            variance = group.ln_diffusivity[1] ** 2 * runs
        else:
            variance = scatter / max(_hops_of_one(group), 1e-3)
        arms.append(Arm(1 / (BOLTZMANN_EV_PER_K * temperature), runs, variance,
                        costs.of(Extension(item.structure, temperature, 0)), misfit.get(temperature)))
    return arms


def _misfits(measured: Sequence[GroupEstimate]) -> dict[float, float]:
    """Temperature → how far off the common line it lies, see :class:`Arm`."""
    pairs = [(group, group.ln_diffusivity) for group in measured if group.ln_diffusivity]
    found = misfits([1 / (BOLTZMANN_EV_PER_K * group.actual_K) for group, _ in pairs], [ln[0] for _, ln in pairs],
                    [ln[1] ** 2 for _, ln in pairs])
    return {group.temperature_K: value for (group, _), value in zip(pairs, found, strict=True)}


def _hops_of_one(group: GroupEstimate | None) -> float:
    """Hops that a run at an unmeasured temperature sees: those it saw, and half a one, for having seen few."""
    return (group.hops + 0.5) / max(1, len(group.runs)) if group else 0.5
