"""What a campaign would cost: tasks, steps, hours and disk. Nothing is started, nothing is written."""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.campaign.config import CampaignConfig, check
from atomflow.campaign.driver import packed, processes
from atomflow.campaign.state import duration
from atomflow.campaign.tasks import Task, expand, relaxation
from atomflow.cell import Cell
from atomflow.md.config import MDConfig
from atomflow.plain import Shown, table
from atomflow.quench import QuenchConfig, stages
from atomflow.units import FS_PER_PS

if TYPE_CHECKING:
    from atomflow.md import Knee

#: steps of the engine that are timed, after one to warm up; and of a relaxation
TIMED_STEPS, TIMED_RELAXATION_STEPS = 4, 2
_BYTES_PER_COORDINATE = 4


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What :func:`plan` found.

    Attributes:
        seconds_per_step: structure → measured on this machine, one process alone.
        hours: wall time for all runs on ``processes`` side by side, in batches where they are packed; quenches and
            relaxations come on top.
        quench_hours: structure → its melt and quench alone, at the same speed; only those that have one.
        relax_hours_at_most: structure → its relaxation, if it takes all the steps that it may; timed here, too.
        altogether_hours: wall time from the first quench to the last run: (if nothing needs relaxing, at most).
        batches: how many runs go at a time, and what each size gives; None where every run has a worker.
        disk_MB: of the finished campaign; while a run is merged its frames are there twice.
        load_per_core: how busy the machine was while steps were timed.
    """

    name: str
    tasks: list[Task]
    potential: dict[str, Any]
    cells: dict[str, dict[str, Any]]
    processes: int
    steps: int
    seconds_per_step: dict[str, float]
    cpu_hours: float
    hours: float
    disk_MB: float
    load_per_core: float
    relax: dict[str, Any] | None
    quench_hours: dict[str, float]
    relax_hours_at_most: dict[str, float]
    altogether_hours: tuple[float, float]
    batches: Knee | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        return (f"<Plan {self.name}: {len(self.tasks)} tasks with {self.potential['name']}, about "
                f"{duration(3600 * self.hours)} on {self.processes} processes>")

    def text(self) -> str:
        """A table and three lines for people."""
        rows = [[task.id, str(task.n_atoms), f"{task.steps_total}", f"{task.n_frames}",
                 duration(task.steps_total * self.seconds_per_step[task.structure])] for task in self.tasks]
        speeds = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in self.seconds_per_step.items())
        lines = [
            table(rows, ["task", "atoms", "steps", "frames", "alone"]),
            "",
            f"{self.name}: {len(self.tasks)} tasks, {self.steps} steps with {self.potential['name']} "
            f"({self.potential['dtype']})",
            f"about {duration(3600 * self.hours)} on {self.processes} process{'es' if self.processes > 1 else ''} "
            f"({duration(3600 * self.cpu_hours)} of computing; a step, measured alone here: {speeds}; side by side "
            f"steps are slower where memory is the limit)",
            f"about {self.disk_MB:.3g} MB on disk",
        ]
        if self.batches:
            lines.append(f"the runs of a process go in batches: {self.batches.text()}")
        if self.load_per_core > 1.2:
            lines.append(f"this machine is busy ({self.load_per_core:.1f} programs a core); the times above include it")
        if self.quench_hours:
            each = ", ".join(f"{name} {duration(3600 * hours)}" for name, hours in self.quench_hours.items())
            lines.append(f"before that, structures are melted and quenched, once each: {each}")
        if self.relax:
            what = "cell and positions" if self.relax["cell_too"] else "positions"
            each = ", ".join(f"{name} {duration(3600 * hours)}" for name, hours in self.relax_hours_at_most.items())
            lines.append(f"before that, {what} are relaxed to {self.relax['fmax_eV_per_A']:g} eV/Å; with all "
                         f"{self.relax['max_steps']} steps that takes: {each} (how many it needs shows only then)")
        least, most = self.altogether_hours
        if most > self.hours:
            between = duration(3600 * most) if least == most else f"{duration(3600 * least)} to {duration(3600 * most)}"
            lines.append(f"altogether about {between}")
        return "\n".join(lines)


def plan(config: CampaignConfig) -> Plan:
    """Build the cells, load the potential, time a few steps of the engine for each structure.

    Raises:
        InputError: whatever :func:`atomflow.campaign.run` would refuse of the configuration.
    """
    check(config)
    cells = {name: config.build(name) for name in config.structures}
    potential = config.load_potential()
    for cell in cells.values():
        potential.check_elements(cell.numbers)
    identity = potential.identity.model_dump(mode="json")
    tasks = expand(config, cells, identity)
    batches = None
    with _threads(config.resources.threads_per_process):
        speeds = {name: _seconds_per_step(cell, potential, config) for name, cell in cells.items()}
        relaxing = {name: _relaxation_seconds(cell, potential, config) for name, cell in cells.items()}
        if packed(config):
            batches = _batches(config, cells, potential, len(tasks))
    costs = [task.steps_total * speeds[task.structure] for task in tasks]
    quenching = {name: _quench_steps(cell, quench) * speeds[name] for name, cell in cells.items()
                 if (quench := config.quench(name)) is not None}
    side_by_side = processes(config)
    gain = batches.throughput[batches.size] / batches.throughput[1] if batches else 1.0
    hours = _packed(costs, side_by_side) / gain / 3600
    before = [_packed([quenching.get(name, 0.0) + share * relaxing[name] for name in cells], side_by_side) / 3600
              for share in (0, 1)]
    return Plan(
        name=config.name,
        tasks=tasks,
        potential=identity,
        cells={name: cell.summary() for name, cell in cells.items()},
        processes=side_by_side,
        steps=sum(task.steps_total for task in tasks),
        seconds_per_step=speeds,
        cpu_hours=sum(costs) / gain / 3600,
        hours=hours,
        disk_MB=sum(_bytes(task) for task in tasks) / 1e6,
        load_per_core=os.getloadavg()[0] / (os.cpu_count() or 1),
        relax=relaxation(config),
        quench_hours={name: seconds / 3600 for name, seconds in quenching.items()},
        relax_hours_at_most={name: seconds / 3600 for name, seconds in relaxing.items() if seconds},
        altogether_hours=(hours + before[0], hours + before[1]),
        batches=batches,
    )


def _relaxation_seconds(cell: Cell, potential: Any, config: CampaignConfig) -> float:
    """What a relaxation of ``cell`` takes if it needs all its steps, from a few that are timed."""
    from atomflow import md

    settings = relaxation(config)
    if settings is None:
        return 0.0
    moments = [time.perf_counter()]
    short = {**settings, "fmax_eV_per_A": 1e-12, "max_steps": TIMED_RELAXATION_STEPS}
    md.relax(cell, potential, progress=lambda *_: moments.append(time.perf_counter()), **short)
    return float(np.median(np.diff(moments))) * float(settings["max_steps"])


def _batches(config: CampaignConfig, cells: dict[str, Cell], potential: Any, runs: int) -> Knee:
    """How many runs go at a time, as a worker would find, or as asked."""
    from atomflow import md

    largest = max(cells.values(), key=len)
    packing = config.resources.packing
    settings = config.md_config(min(config.temperatures_K), config.seed_list[0])
    return md.knee(largest, potential, settings, runs if packing == "auto" else min(runs, packing))


def _quench_steps(cell: Cell, config: QuenchConfig) -> int:
    return sum(stage.steps for stage in stages(config, cell))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many torch threads as a worker will have."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds_per_step(cell: Cell, potential: Any, config: CampaignConfig) -> float:
    """Median time between steps of the engine itself, at the coldest temperature, in a folder thrown away."""
    from atomflow import md

    full = config.md_config(min(config.temperatures_K), config.seed_list[0])
    short = MDConfig.from_dump({
        **full.dump(), "equilibration_ps": 0.0, "temperature_end_K": None, "thermo_interval_fs": full.timestep_fs,
        "time_ps": (TIMED_STEPS + 1) * full.timestep_fs / FS_PER_PS,
        "checkpoint_interval_ps": 100 * full.timestep_fs / FS_PER_PS,
        "frame_interval_fs": 100 * full.timestep_fs,
    }, "plan")
    moments: list[float] = []
    with tempfile.TemporaryDirectory(prefix="atomflow-plan-") as scratch:
        md.run(cell, potential, short, Path(scratch, "run"), progress=lambda _: moments.append(time.perf_counter()))
    return float(np.median(np.diff(moments)[1:]))


def _packed(costs: list[float], lanes: int) -> float:
    """When the last task ends, if each goes in turn to the process that is free first."""
    free = [0.0] * lanes
    for cost in costs:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)


def _bytes(task: Task) -> float:
    """Frames (single precision), thermo rows and two checkpoints."""
    config = MDConfig.from_dump(task.config)
    rows = task.steps_total // config.thermo_every
    return (task.n_frames * (task.n_atoms * 3 * _BYTES_PER_COORDINATE + 88) + rows * 56
            + 2 * task.n_atoms * 160 + 50_000)
