"""How a campaign is getting on, from its files alone: no torch, no trajectory is opened."""

from __future__ import annotations

import heapq
import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.estimates import PATIENCE_S, StructureEstimate, estimates
from atomflow.campaign.queue import NOWHERE, NoAnswer, Place, in_queue
from atomflow.errors import InputError, path_of
from atomflow.plain import Shown, table
from atomflow.runs.lock import holder
from atomflow.runs.manifest import read_manifest, what_is_lost

#: in the order in which they are shown
STATES = ("done", "running", "queued", "stopped", "killed", "failed", "waiting")


@dataclass(frozen=True)
class TaskStatus:
    """One task now.

    Attributes:
        state: ``waiting`` (not begun), ``queued`` (with SLURM), ``running``, ``stopped`` (on request), ``killed`` (its
            process vanished), ``failed``, ``done``.
        progress: 0 to 1.
        seconds_left: at the present speed, of a running task; None where nobody can say.
        warning: the last warning of the run, or why it failed.
    """

    id: str
    structure: str
    temperature_K: float
    seed: int
    state: str
    step: int
    steps_total: int
    progress: float
    time_ps: float | None
    ns_per_day: float | None
    seconds_left: float | None
    warning: str | None


@dataclass(frozen=True, repr=False)
class CampaignStatus(Shown):
    """A campaign now.

    Attributes:
        driver: process, machine and start of the driver at work, or None.
        relaxing: structure → words, for those not ready yet.
        warnings: of the structures; those of a run are with its task.
        estimates: where the Arrhenius line of each structure stands, from the runs that are done.
        with_slurm: whether some of it is queued or running there; None where SLURM did not answer and work is left.
            A task's state is then what its files say, which may be behind.
    """

    name: str
    folder: str
    driver: dict[str, Any] | None
    tasks: list[TaskStatus]
    relaxing: dict[str, str]
    warnings: list[str]
    ns_per_day: float
    seconds_left: float | None
    estimates: list[StructureEstimate]
    with_slurm: bool | None = False

    @property
    def counts(self) -> dict[str, int]:
        """Tasks in each state, those states only that occur."""
        found = Counter(task.state for task in self.tasks)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def active(self) -> bool:
        """Whether something runs, or will without anybody doing anything."""
        running = any(task.state == "running" for task in self.tasks)
        return self.driver is not None or self.with_slurm is not False or running

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "counts": self.counts, "estimates": [item.to_json() for item in self.estimates]}

    def line(self) -> str:
        """The whole campaign in one line."""
        counts = self.counts
        parts = [f"{counts.get('done', 0)} of {len(self.tasks)} tasks done"]
        parts += [f"{count} {state}" for state, count in counts.items() if state not in ("done", "waiting")]
        parts += [f"{structure}: {words}" for structure, words in self.relaxing.items()]
        if self.ns_per_day:
            parts.append(f"{self.ns_per_day:.3g} ns/day")
        if self.seconds_left is not None and counts.get("done", 0) < len(self.tasks):
            parts.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<CampaignStatus {self.name}: {self.line()}>"

    def text(self) -> str:
        """A table for people."""
        rows = [[task.id, task.state, f"{100 * task.progress:.0f} %",
                 duration(task.seconds_left) if task.seconds_left is not None else "", task.warning or ""]
                for task in self.tasks]
        driver = (f"driven by process {self.driver.get('pid')} on {self.driver.get('host')}" if self.driver
                  else "SLURM has it" if self.with_slurm
                  else "nobody is driving it" if self.with_slurm is False else "SLURM may have it")
        return "\n".join([table(rows, ["task", "state", "done", "left", "last warning"]), "",
                          *(f"warning: {text}" for text in self.warnings),
                          *(item.line() for item in self.estimates),
                          f"{self.name}: {self.line()}; {driver}"])


def status(folder: str | Path, estimate: bool = True) -> CampaignStatus:
    """Read the state of the campaign in ``folder``; works while it runs, and without torch.

    Args:
        estimate: also where the activation energies stand; what has been computed before is not computed again, and no
            more than about a second is spent on it.

    Raises:
        InputError: it is no campaign folder.
    """
    folder = path_of(folder, "the folder of a campaign")
    campaign = places.read(folder)
    driver = holder(folder / "lock")
    warnings = _structure_warnings(folder, campaign)
    queued: dict[str, Place] = {}
    unknown: InputError | None = None
    try:
        queued = in_queue(folder)
    except InputError as error:
        unknown = error
    tasks = [_task(folder, item, queued) for item in campaign["tasks"]]
    with_slurm: bool | None = bool(queued)
    if unknown and any(task.state != "done" for task in tasks):
        warnings.append(str(unknown))
        with_slurm = None if isinstance(unknown, NoAnswer) else False
    speeds = [task.ns_per_day for task in tasks if task.state == "running" and task.ns_per_day]
    done = [task for task in tasks if task.state == "done"]
    return CampaignStatus(
        campaign["name"], str(folder), driver, tasks, _relaxing(folder, campaign, driver is not None, queued), warnings,
        sum(speeds), _time_left(tasks), estimates(folder, done, PATIENCE_S) if estimate else [], with_slurm)


def _task(folder: Path, item: dict[str, Any], queued: dict[str, Place]) -> TaskStatus:
    live = places.read_json(places.progress_file(folder, item["id"]))
    run = places.run_folder(folder, item["id"])
    total = max(1, int(item["steps_total"]))
    place = queued.get(item["id"], NOWHERE)
    common = {key: item[key] for key in ("id", "structure", "temperature_K", "seed")}
    try:
        manifest = read_manifest(run)
    except InputError:
        failed = live.get("stage") == "failed"
        state = place.state or ("failed" if failed else "waiting")
        return TaskStatus(**common, state=state, step=0, steps_total=total, progress=0.0,
                          time_ps=None, ns_per_day=None, seconds_left=None, warning=place.trouble or live.get("reason"))
    lost = what_is_lost(run, manifest)
    if lost:
        words = f"it was done, and {lost}; campaign run does it again and keeps what is left in {places.LOST}/"
        return TaskStatus(**common, state=place.state or "failed", step=0, steps_total=total, progress=0.0,
                          time_ps=None, ns_per_day=None, seconds_left=None, warning=words)
    state = manifest["state"]
    if state in ("running", "prepared"):
        state = "running" if holder(run / "lock") or place.state == "running" else "killed"
    if place.state == "queued" and state in ("stopped", "killed"):
        state = "queued"
    running = state == "running"
    step = int(manifest["progress"]["step"])
    if running:  # the progress file is younger than the last checkpoint; without a process only the latter counts
        step = max(step, int(live.get("step", 0)))
    warnings = [manifest["reason"]] if state == "failed" and manifest["reason"] else manifest["warnings"]
    return TaskStatus(
        **common,
        state=state,
        step=step,
        steps_total=total,
        progress=1.0 if state == "done" else min(1.0, step / total),
        time_ps=live.get("time_ps") if running and "time_ps" in live else manifest["progress"].get("time_ps"),
        ns_per_day=live.get("ns_per_day") if running else manifest["summary"].get("ns_per_day"),
        seconds_left=live.get("seconds_left") if running else None,
        warning=place.trouble or (warnings[-1] if warnings else None),
    )


def _relaxing(
    folder: Path, campaign: dict[str, Any], driven: bool, queued: dict[str, Place]
) -> dict[str, str]:
    words = {}
    for structure in campaign["structures"]:
        if places.cell_file(folder, structure).with_suffix(".json").exists():
            continue
        live = places.read_json(places.progress_file(folder, places.relax_task(structure)))
        stage = live.get("stage")
        place = queued.get(places.relax_task(structure), NOWHERE)
        at_work = driven or place.state == "running"
        if stage == "failed":
            words[structure] = f"relaxation failed ({live.get('reason')})"
        elif stage == "quenching" and at_work:
            words[structure] = f"quenching, {live['words']}"
        elif stage == "relaxing" and at_work:
            words[structure] = f"relaxing, step {live['step']}, largest force {live['fmax_eV_per_A']:.3f} eV/Å"
        else:
            words[structure] = "not relaxed yet" + (", queued" if place.state == "queued" else "")
    return words


def _structure_warnings(folder: Path, campaign: dict[str, Any]) -> list[str]:
    found = []
    for structure in campaign["structures"]:
        about = places.read_json(places.cell_file(folder, structure).with_suffix(".json"))
        result, quenched = about.get("result"), about.get("quench")
        if result and not result["converged"]:
            found.append(f"{structure}: relaxation ended after {result['steps']} steps at "
                         f"{result['fmax_eV_per_A']:.3f} eV/Å; its runs start from there")
        if quenched:
            summary = quenched["summary"]
            found += [f"{structure}: after its quench: {problem}" for problem in summary["problems"]]
            lines = summary["acceptance"]["lines"] if summary["acceptance"] else []
            failed = [line["quantity"] for line in lines if line["verdict"] == "fail"]
            found += [f"{structure}: its glass fails the acceptance: {', '.join(failed)}"] if failed else []
    return found


def _time_left(tasks: list[TaskStatus]) -> float | None:
    """Until the last task ends, if those that wait run as fast as those that run, as many side by side."""
    running = [task for task in tasks if task.state == "running" and task.seconds_left is not None]
    if not running:
        return None
    paces = [task.seconds_left / (task.steps_total - task.step) for task in running
             if task.seconds_left is not None and task.steps_total > task.step]
    pace = statistics.median(paces) if paces else 0.0
    lanes = [task.seconds_left or 0.0 for task in running]
    heapq.heapify(lanes)
    for task in tasks:
        if task.state in ("waiting", "queued", "stopped", "killed"):
            heapq.heappush(lanes, heapq.heappop(lanes) + pace * (task.steps_total - task.step))
    return max(lanes)


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"
