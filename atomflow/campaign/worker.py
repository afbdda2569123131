"""One task in its own process, or several as batches: ``python -m atomflow.campaign.worker DIR TASK [TASK ...]``.

The driver holds the other end of this process's standard input. When the driver goes, however it goes, that end closes,
and the worker stops as on SIGTERM: checkpoint, exit code 75.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.preparation import prepare
from atomflow.errors import EXIT_DONE, EXIT_FAILED, EXIT_RESUME, AtomflowError, InputError
from atomflow.runs.manifest import read_manifest

if TYPE_CHECKING:
    from atomflow.md import MDJob

#: seconds between two updates of the progress file
PROGRESS_EVERY_S = 1.0


def main(arguments: list[str]) -> int:
    """Run the tasks; the exit code says how it ended (0, 2, 75 or 1), the progress files why."""
    if len(arguments) < 2:
        print("usage: python -m atomflow.campaign.worker DIR TASK [TASK ...]", file=sys.stderr)
        return 2
    folder, tasks = Path(arguments[0]), arguments[1:]
    try:
        work(folder, tasks)
    except KeyboardInterrupt:
        return EXIT_RESUME
    except AtomflowError as error:
        return _ended(folder, tasks, str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("ATOMFLOW_TRACEBACK"):
            raise
        return _ended(folder, tasks, f"internal error: {type(error).__name__}: {error}", EXIT_FAILED)
    return EXIT_DONE


def work(folder: Path, tasks: Sequence[str]) -> None:
    """Prepare a structure (``relax-<name>``), run one task of the campaign in ``folder`` from where it stands, or
    several tasks packed into batches."""
    campaign = places.read(folder)
    config = CampaignConfig.model_validate(campaign["config"])
    known = {item["id"]: item for item in campaign["tasks"]}
    starts = {places.relax_task(name): name for name in campaign["structures"]}
    for task in tasks:
        if task not in known and (task not in starts or len(tasks) > 1):
            raise InputError(f"{folder} has no task '{task}'")
    for task in tasks:
        places.set_aside_lost(folder, task)
    report = _Reporter([places.progress_file(folder, task) for task in tasks])
    report.write({"stage": "starting"})
    potential = _load_potential(config, campaign["potential"])
    if tasks[0] in starts:
        prepare(folder, config, starts[tasks[0]], potential, report)
    elif len(tasks) == 1:
        _simulate(folder, known[tasks[0]], campaign["name"], potential, report)
    else:
        _simulate_packed(folder, [known[task] for task in tasks], campaign["name"], config, potential, report)


def _load_potential(config: CampaignConfig, identity: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(config.resources.threads_per_process)
    potential = config.load_potential()
    if potential.identity.sha256 != identity["sha256"]:
        raise InputError(f"the potential {config.potential.name} is not the one the campaign was started with "
                         f"({potential.identity.sha256[:12]}, not {identity['sha256'][:12]})")
    return potential


def _simulate(folder: Path, task: dict[str, Any], campaign: str, potential: Any, report: _Reporter) -> None:
    from atomflow import md

    run = places.run_folder(folder, task["id"])
    if (run / "run.json").exists():
        md.resume(run, potential, progress=report.moment)
    else:
        job = _job(folder, task, campaign)
        md.run(job.cell, potential, job.config, run, labels=job.labels, progress=report.moment)


def _simulate_packed(
    folder: Path, tasks: list[dict[str, Any]], campaign: str, config: CampaignConfig, potential: Any, report: _Reporter
) -> None:
    from atomflow import md

    jobs = [_job(folder, task, campaign) for task in tasks]

    def moment(folders: Sequence[Path], progress: Any) -> None:
        report.moment(progress, [places.progress_file(folder, place.name) for place in folders])

    md.run_packed(jobs, potential, _batch_size(jobs, potential, config.resources.packing), moment)


def _batch_size(jobs: list[MDJob], potential: Any, packing: str | int) -> int:
    """How many runs at a time: as asked, or measured on a GPU. On a CPU a batch gains nothing."""
    from atomflow import md

    if not isinstance(packing, str):
        return packing
    if potential.device.type != "cuda":
        return 1
    largest = max(jobs, key=lambda job: len(job.cell))
    found = md.knee(largest.cell, potential, largest.config, len(jobs))
    print(f"{len(jobs)} runs to do: {found.text()}", file=sys.stderr, flush=True)
    return found.size


def _job(folder: Path, task: dict[str, Any], campaign: str) -> MDJob:
    from atomflow import md
    from atomflow.cell import read_cell

    labels = {"structure": task["structure"], "task": task["id"], "campaign": campaign}
    return md.MDJob(read_cell(places.cell_file(folder, task["structure"])), md.MDConfig.from_dump(task["config"]),
                    places.run_folder(folder, task["id"]), labels)


class _Reporter:
    """Writes progress files now and then; they need not survive a power cut, so they are not flushed to the disk."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._last = 0.0

    def moment(self, progress: Any, paths: Sequence[Path] | None = None) -> None:
        """Progress of molecular dynamics, of the runs that share it."""
        shared = len(paths) if paths else 1
        self.step({"stage": progress.stage, "step": progress.step, "steps_total": progress.steps_total,
                   "time_ps": progress.time_ps, "steps_per_s": progress.steps_per_s,
                   "ns_per_day": progress.ns_per_day / shared, "seconds_left": progress.seconds_left,
                   "temperature_K": progress.temperature_K}, paths)

    def step(self, data: dict[str, Any], paths: Sequence[Path] | None = None) -> None:
        if time.monotonic() - self._last >= PROGRESS_EVERY_S:
            self.write(data, paths)

    def write(self, data: dict[str, Any], paths: Sequence[Path] | None = None) -> None:
        import json

        self._last = time.monotonic()
        for path in self.paths if paths is None else paths:
            partial = path.with_suffix(".partial")
            try:
                partial.write_text(json.dumps({"pid": os.getpid(), "at": time.time(), **data}))
                os.replace(partial, path)
            except OSError:  # progress is a courtesy; a full disk is told by the run itself
                partial.unlink(missing_ok=True)


def _ended(folder: Path, tasks: Sequence[str], reason: str, code: int) -> int:
    """Say why on standard error (the log) and in the progress files; a run's own reason goes before that of all."""
    line = " ".join(reason.split())
    print(f"atomflow: {line}", file=sys.stderr)
    for task in tasks:
        own = None
        if len(tasks) > 1:
            with contextlib.suppress(InputError):
                own = read_manifest(places.run_folder(folder, task))["reason"]
        stage = "stopped" if code == EXIT_RESUME else "failed"
        _Reporter([places.progress_file(folder, task)]).write({"stage": stage, "reason": own or line})
    return code


def stop_with_driver(stop: Callable[[], None]) -> None:
    """Call ``stop`` when standard input closes, watched by a thread of its own."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        stop()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if os.environ.get("ATOMFLOW_STOP_WITH_STDIN"):
        stop_with_driver(lambda: os.kill(os.getpid(), signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
