"""What of a campaign stands in a SLURM queue now: the record of what was handed in, held against squeue."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.errors import EXIT_FAILED, InputError

PATIENCE_S = 10.0
#: states of squeue in which nothing of the job runs yet (or again)
_PENDING = ("PD", "RD", "RF", "RH", "RQ", "RS", "SE")
#: reasons for waiting that need nobody's attention
_ORDINARY = ("None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "Prolog")


class NoAnswer(InputError):
    """SLURM is there and did not answer; the next question may well be answered."""

    exit_code = EXIT_FAILED


@dataclass(frozen=True)
class Place:
    """Where a task stands with SLURM.

    Attributes:
        element: of the array, ``<job>_<index>``. state: ``queued`` or ``running``.
        trouble: why it waits, in SLURM's words, where that is out of the ordinary.
    """

    element: str
    state: str
    trouble: str | None = None

    @property
    def job(self) -> str:
        return self.element.split("_")[0]


#: of a task that is not with SLURM
NOWHERE = Place("", "")


def submissions(folder: Path) -> list[dict[str, Any]]:
    """``{"job", "at", "elements"}`` of every array that was handed in, oldest first."""
    return list(places.read_json(folder / "slurm.json").get("submissions", []))


def in_queue(folder: Path) -> dict[str, Place]:
    """Task → where squeue has it; empty where nothing was handed in.

    Raises:
        NoAnswer: something was handed in and SLURM does not answer now.
        InputError: something was handed in and there is no SLURM to ask about it.
    """
    record = submissions(folder)
    if not record:
        return {}
    known = {place.element: place for place in _squeue()}
    found: dict[str, Place] = {}
    for item in record:
        for index, tasks in enumerate(item["elements"]):
            place = known.get(f"{item['job']}_{index}")
            if place is not None:
                found |= dict.fromkeys(tasks, place)
    return found


def _squeue() -> list[Place]:
    """All jobs of this user: squeue fails when it is asked about one that it has forgotten."""
    if shutil.which("squeue") is None:
        raise InputError("this campaign was handed to SLURM, and there is no squeue on this machine to ask about it "
                         "(if its jobs are over, or this is a copy, remove slurm.json from its folder)")
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i %t %r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"squeue did not answer within {PATIENCE_S:.0f} s; try again later") from None
    if done.returncode:
        raise NoAnswer(f"squeue failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    places_found = []
    for line in done.stdout.splitlines():
        element, state, reason = [*line.split(maxsplit=2), "", ""][:3]
        pending = state in _PENDING
        trouble = reason if pending and reason not in _ORDINARY else None
        places_found.append(Place(element, "queued" if pending else "running", trouble))
    return places_found


def refuse_queued(folder: Path) -> None:
    """Refuse to drive a campaign whose tasks stand in a queue.

    Raises:
        InputError: some do.
    """
    busy = in_queue(folder)
    if busy:
        jobs = sorted({place.job for place in busy.values()})
        raise InputError(f"{folder}: {len(busy)} tasks are with SLURM (job {', '.join(jobs)}); wait for them, or end "
                         f"them with: atomflow campaign cancel {folder}")
