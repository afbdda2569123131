"""SLURM through its own commands: sbatch, squeue, scancel. What was handed in stands in ``slurm.json``; how far it came
stands in the run folders, as on any machine. No accounting database is asked."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig, check
from atomflow.campaign.driver import load_identity, prepared
from atomflow.campaign.queue import in_queue, submissions
from atomflow.campaign.scripts import Array, arrays, script
from atomflow.campaign.state import status
from atomflow.campaign.tasks import Task, expand, needs_preparation, start_key
from atomflow.errors import InputError, RunFailed
from atomflow.runs.files import write_whole
from atomflow.runs.manifest import now

#: what stands in a dry run for the number that SLURM will give to the relaxations
_RELAX_JOB = "RELAXATIONS"


def submit(config: CampaignConfig, folder: str | Path, only: Collection[str] | None = None) -> list[str]:
    """Hand what is neither done nor in the queue to SLURM and return at once.

    Returns:
        The job ids, none when there was nothing to hand in.

    Raises:
        InputError: as :func:`atomflow.campaign.run`, or there is no sbatch here.
        RunFailed: SLURM refused; the line says what it said, and what was handed in before stays in the queue.
    """
    if shutil.which("sbatch") is None:
        raise InputError("there is no sbatch on this machine; submit from a login node of the cluster, or leave out "
                         "--on slurm")
    folder = Path(folder).absolute()
    with prepared(config, folder) as campaign:
        busy = set(in_queue(folder))
        tasks = [task for task in left(folder, campaign.tasks, only) if task.id not in busy]
        to_relax = [name for name in campaign.to_relax if any(task.structure == name for task in tasks)]
        jobs = _Jobs(folder, config)
        for array in arrays(config.name, tasks, to_relax, config.resources.slurm.tasks_per_job):
            jobs.hand_in(array)
    return jobs.ids


def dry_run(config: CampaignConfig, folder: str | Path) -> list[str]:
    """The scripts that :func:`submit` would hand in, each below the command that would do it; nothing is written."""
    folder = Path(folder).absolute()
    check(config)
    cells = {name: config.build(name) for name in config.structures}
    identity = load_identity(config, cells)
    tasks = expand(config, cells, identity, places.extensions(folder))
    if (folder / places.FILE).exists():
        busy = set(in_queue(folder))
        tasks = [task for task in left(folder, tasks) if task.id not in busy]
    to_relax = [name for name, cell in cells.items() if needs_preparation(config, name)
                and not places.start_is_ready(folder, name, start_key(cell, identity, config, name))]
    found = list(arrays(config.name, tasks, to_relax, config.resources.slurm.tasks_per_job))
    shown = []
    for array in found:
        where = f"{_RELAX_JOB}_{to_relax.index(array.after.removeprefix('relax-'))}" if array.after else None
        command = " ".join(["sbatch", *_dependency(where), f"{array.name}.sh"])
        task_list = folder / "slurm" / f"{array.name}.tasks"
        shown.append(f"# {command}\n{script(array, folder, task_list, config.resources, config.packs_on_slurm)}")
    return shown


def left(folder: Path, tasks: list[Task], only: Collection[str] | None = None) -> list[Task]:
    """The tasks that are not done, of those in ``only`` if given."""
    done = {row.id for row in status(folder, estimate=False).tasks if row.state == "done"}
    return [task for task in tasks if task.id not in done and (only is None or task.id in only)]


class _Jobs:
    """Hands arrays in, one after the other, and puts every one on record."""

    def __init__(self, folder: Path, config: CampaignConfig) -> None:
        self.folder, self.config = folder, config
        self.record = submissions(folder)
        self.ids: list[str] = []
        self._element_of: dict[str, str] = {}

    def hand_in(self, array: Array) -> None:
        place = self.folder / "slurm"
        place.mkdir(exist_ok=True)
        stem = f"{len(self.record):04d}-{array.name}"
        task_list = place / f"{stem}.tasks"
        write_whole(task_list, "".join(" ".join(tasks) + "\n" for tasks in array.elements).encode())
        text = script(array, self.folder, task_list, self.config.resources, self.config.packs_on_slurm)
        write_whole(place / f"{stem}.sh", text.encode())
        where = self._element_of[array.after] if array.after else None
        job = self._sbatch([*_dependency(where), str(place / f"{stem}.sh")])
        self._element_of |= {task: f"{job}_{i}" for i, tasks in enumerate(array.elements) for task in tasks}
        self.record.append({"job": job, "at": now(), "elements": array.elements})
        places.write_json(self.folder / "slurm.json", {"submissions": self.record})
        self.ids.append(job)

    def _sbatch(self, arguments: list[str]) -> str:
        done = subprocess.run(["sbatch", "--parsable", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
            kept = f"{len(self.ids)} arrays were handed in before it" if self.ids else "nothing was handed in"
            raise RunFailed(f"sbatch refused {arguments[-1]}: {said}; {kept}; mend resources.slurm in the campaign "
                            f"file and give the same command again")
        return done.stdout.strip().split(";")[0]


def _dependency(element: str | None) -> list[str]:
    return [f"--dependency=afterok:{element}", "--kill-on-invalid-dep=yes"] if element else []


def scancel(folder: Path) -> list[str]:
    """Ask SLURM to end all jobs of the campaign; those that run checkpoint first. Returns their ids."""
    jobs = sorted({place.job for place in in_queue(folder).values()})
    if jobs:
        done: Any = subprocess.run(["scancel", *jobs], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunFailed(f"scancel failed: {' '.join(done.stderr.split())}")
    return jobs
