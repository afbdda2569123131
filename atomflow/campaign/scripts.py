"""Scripts for sbatch: an array of relaxations, and an array of runs for every structure that begins when its own
relaxation has ended well. Pure text; :mod:`atomflow.campaign.slurm` hands it in."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from atomflow.campaign import folder as places
from atomflow.campaign.resources import Resources
from atomflow.campaign.tasks import Task

#: elements of one array at most: below SLURM's own default limit (MaxArraySize 1001)
LONGEST_ARRAY = 1000
Item = TypeVar("Item")


@dataclass(frozen=True)
class Array:
    """One array job.

    Attributes:
        elements: for every element the tasks that it runs side by side.
        after: the relaxation (task name) that must end well before any element may begin; None for no waiting.
    """

    name: str
    elements: list[list[str]]
    after: str | None = None


def arrays(campaign: str, tasks: Sequence[Task], to_relax: Sequence[str], tasks_per_job: int) -> Iterator[Array]:
    """The array of relaxations, where any are left to do, then arrays of runs, one structure each."""
    for part in _pieces([[places.relax_task(name)] for name in to_relax], LONGEST_ARRAY):
        yield Array(f"{campaign}-relax", part)
    for structure in dict.fromkeys(task.structure for task in tasks):
        names = [task.id for task in tasks if task.structure == structure]
        after = places.relax_task(structure) if structure in to_relax else None
        for part in _pieces(list(_pieces(names, tasks_per_job)), LONGEST_ARRAY):
            yield Array(f"{campaign}-{structure}", part, after)


def _pieces(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def script(array: Array, folder: Path, task_list: Path, resources: Resources, packed: bool = False) -> str:
    """The sbatch script of ``array``.

    ``exec`` makes the job's own process the one that SLURM warns: USR1 some time before the walltime, TERM on
    preemption and scancel.

    Args:
        task_list: file whose line i names the tasks of element i.
        packed: whether the tasks of an element share one worker, and so its cores.
    """
    slurm = resources.slurm
    limit = f"%{slurm.array_limit}" if slurm.array_limit else ""
    options = {
        "job-name": f"atomflow-{array.name}",
        "array": f"0-{len(array.elements) - 1}{limit}",
        "output": shlex.quote(f"{folder}/logs/slurm-%A_%a.log"),  # sbatch reads these lines as a shell does
        "open-mode": "append",
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": resources.threads_per_process * (1 if packed else max(map(len, array.elements))),
        "time": slurm.time,
        "signal": f"B:USR1@{slurm.warn_s}",
        "mem": slurm.memory,
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "gpus": slurm.gpus,
        "gres": slurm.gres,
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    command = [slurm.python or sys.executable, "-m", "atomflow.campaign.node", str(folder), str(task_list)]
    return "\n".join(["#!/bin/bash", *lines, "#SBATCH --requeue", *(f"#SBATCH {option}" for option in slurm.extra),
                      "", *slurm.setup, f'exec {shlex.join(command)} "$SLURM_ARRAY_TASK_ID"', ""])
