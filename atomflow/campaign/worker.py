"""One task in its own process: ``python -m atomflow.campaign.worker DIR TASK``.

The driver holds the other end of this process's standard input. When the driver goes, however it goes, that end closes,
and the worker stops as on SIGTERM: checkpoint, exit code 75.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig
from atomflow.errors import EXIT_DONE, EXIT_FAILED, EXIT_RESUME, AtomflowError, InputError

#: seconds between two updates of the progress file
PROGRESS_EVERY_S = 1.0


def main(arguments: list[str]) -> int:
    """Run the task; the exit code says how it ended (0, 2, 75 or 1), the progress file why."""
    if len(arguments) != 2:
        print("usage: python -m atomflow.campaign.worker DIR TASK", file=sys.stderr)
        return 2
    folder, task = Path(arguments[0]), arguments[1]
    try:
        work(folder, task)
    except KeyboardInterrupt:
        return EXIT_RESUME
    except AtomflowError as error:
        return _ended(folder, task, str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("ATOMFLOW_TRACEBACK"):
            raise
        return _ended(folder, task, f"internal error: {type(error).__name__}: {error}", EXIT_FAILED)
    return EXIT_DONE


def work(folder: Path, task: str) -> None:
    """Relax a structure (``relax-<name>``) or run one task of the campaign in ``folder``, from where it stands."""
    campaign = places.read(folder)
    config = CampaignConfig.model_validate(campaign["config"])
    known = {item["id"]: item for item in campaign["tasks"]}
    starts = {places.relax_task(name): name for name in campaign["structures"]}
    if task not in known and task not in starts:
        raise InputError(f"{folder} has no task '{task}'")
    report = _Reporter(places.progress_file(folder, task))
    report.write({"stage": "starting"})
    potential = _load_potential(config, campaign["potential"])
    if task in starts:
        _relax(folder, config, starts[task], potential, report)
    else:
        _simulate(folder, known[task], campaign["name"], config, potential, report)


def _load_potential(config: CampaignConfig, identity: dict[str, Any]) -> Any:
    import torch

    from atomflow import potentials

    torch.set_num_threads(config.resources.threads_per_process)
    choice = config.potential
    potential = potentials.load(config.potential_name(), device=choice.device, dtype=choice.dtype,
                                trust_model=choice.trust_model)
    if potential.identity.sha256 != identity["sha256"]:
        raise InputError(f"the potential {choice.name} is not the one the campaign was started with "
                         f"({potential.identity.sha256[:12]}, not {identity['sha256'][:12]})")
    return potential


def _relax(folder: Path, config: CampaignConfig, structure: str, potential: Any, report: _Reporter) -> None:
    from atomflow import md
    from atomflow.campaign.tasks import relaxation, start_key

    cell = config.build(structure)
    key = start_key(cell, potential.identity.model_dump(mode="json"), config)
    settings = relaxation(config)

    def show(step: int, energy_eV: float, fmax: float) -> None:
        report.step({"stage": "relaxing", "step": step, "energy_eV": energy_eV, "fmax_eV_per_A": fmax})

    relaxed, result = md.relax(cell, potential, progress=show, **(settings or {}))
    if not result.converged:
        print(f"{structure}: relaxation stopped after {result.steps} steps at {result.fmax_eV_per_A:.3f} eV/Å; "
              f"dynamics start from there", file=sys.stderr)
    places.write_start(folder, structure, relaxed, key, {"settings": settings, "result": result.to_json()})


def _simulate(
    folder: Path, task: dict[str, Any], campaign: str, config: CampaignConfig, potential: Any, report: _Reporter
) -> None:
    from atomflow import md
    from atomflow.cell import read_cell

    run = places.run_folder(folder, task["id"])
    if (run / "run.json").exists():
        md.resume(run, potential, progress=report.moment)
        return
    cell = read_cell(places.cell_file(folder, task["structure"]))
    labels = {"structure": task["structure"], "task": task["id"], "campaign": campaign}
    md.run(cell, potential, md.MDConfig.from_dump(task["config"]), run, labels=labels, progress=report.moment)


class _Reporter:
    """Writes the progress file now and then; it need not survive a power cut, so it is not flushed to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0

    def moment(self, progress: Any) -> None:
        """Progress of molecular dynamics."""
        self.step({"stage": progress.stage, "step": progress.step, "steps_total": progress.steps_total,
                   "time_ps": progress.time_ps, "steps_per_s": progress.steps_per_s,
                   "ns_per_day": progress.ns_per_day, "seconds_left": progress.seconds_left,
                   "temperature_K": progress.temperature_K})

    def step(self, data: dict[str, Any]) -> None:
        if time.monotonic() - self._last >= PROGRESS_EVERY_S:
            self.write(data)

    def write(self, data: dict[str, Any]) -> None:
        import json

        self._last = time.monotonic()
        partial = self.path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps({"pid": os.getpid(), "at": time.time(), **data}))
            os.replace(partial, self.path)
        except OSError:  # progress is a courtesy; a full disk is told by the run itself
            partial.unlink(missing_ok=True)


def _ended(folder: Path, task: str, reason: str, code: int) -> int:
    """Say why on standard error (the task's log) and in the progress file."""
    line = " ".join(reason.split())
    print(f"atomflow: {line}", file=sys.stderr)
    stage = "stopped" if code == EXIT_RESUME else "failed"
    _Reporter(places.progress_file(folder, task)).write({"stage": stage, "reason": line})
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
