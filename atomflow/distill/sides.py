"""Who is asked: a potential in this process, or a teacher in an environment of its own; both keep every answer.

A task (see :mod:`atomflow.distill.operations`) is named by a checksum of itself and of who is asked, so that a card
that was stopped asks nothing twice, and a changed model asks everything anew. The path that a band begins from is no
part of that checksum, only of the rest of the name: a teacher's bands can be found whoever's paths they began from.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from atomflow.cell import Cell
from atomflow.distill import operations
from atomflow.distill.label import teacher_environment
from atomflow.errors import InputError, RunFailed
from atomflow.potentials import Potential

Task = dict[str, Any]
Say = Callable[[str], None]


class Side(Protocol):
    """Somebody who performs tasks."""

    name: str

    def perform(self, tasks: Sequence[Task], say: Say) -> list[dict[str, Any]]:
        """The results of the tasks, in order."""
        ...

    def kept(self, wanted: Task) -> list[dict[str, Any]]:
        """All that it answered already to this task, whatever paths the answers began from."""
        ...


def task(operation: str, cells: Sequence[Cell], **settings: Any) -> Task:
    """A task on atomflow's cells; a band may be given the path that it begins from, cells of a result: ``|
    {"start": [...]}``."""
    return {
        "operation": operation,
        "settings": settings,
        "cells": [
            {
                "numbers": cell.numbers.tolist(),
                "positions_A": np.round(cell.positions_A, 8).tolist(),
                "lattice_A": np.round(cell.lattice_A, 8).tolist(),
            }
            for cell in cells
        ],
    }


def answered(cell: dict[str, Any], like: Cell) -> Cell:
    """A cell of a result, with regions, sites and provenance of ``like``."""
    return Cell(
        np.array(cell["numbers"]),
        np.array(cell["positions_A"]),
        np.array(cell["lattice_A"]),
        like.regions,
        like.sites,
        like.provenance,
    )


class Here:
    """A potential of atomflow, asked in this process through its batched path, in float64."""

    def __init__(self, potential: Potential, folder: Path) -> None:
        self.name, self.potential, self.folder = potential.identity.name, potential.with_dtype("float64"), folder
        self._key = potential.identity.sha256

    def perform(self, tasks: Sequence[Task], say: Say) -> list[dict[str, Any]]:
        from atomflow.potentials.ase_calculator import BatchCalculator

        self.folder.mkdir(parents=True, exist_ok=True)
        results = []
        for number, wanted in enumerate(tasks, 1):
            stem = _stem(wanted, self._key)
            path, images = self.folder / f"{stem}.result.json", self.folder / f"{stem}.band.json"
            if not path.exists():
                calculator = BatchCalculator(self.potential)
                found = operations.perform(wanted, calculator, images, lambda text: say(f"{self.name}: {text}"))
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(found))
                os.replace(partial, path)
                images.unlink(missing_ok=True)
                say(f"{self.name}: {wanted['operation']} {number}/{len(tasks)}, {found['seconds']:.0f} s")
            results.append(json.loads(path.read_text()))
        return results

    def kept(self, wanted: Task) -> list[dict[str, Any]]:
        return _kept(self.folder, wanted, self._key)


class Elsewhere:
    """A teacher in its own environment; tasks and results travel as files, see ``teacher_worker.py``."""

    def __init__(self, teacher: str, folder: Path, python: str | None = None) -> None:
        self.name, self.folder = teacher, folder
        self.interpreter = python or str(teacher_environment(teacher))
        if not Path(self.interpreter).exists():
            raise InputError(f"there is no Python interpreter at {self.interpreter}")

    def perform(self, tasks: Sequence[Task], say: Say) -> list[dict[str, Any]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        stems = [_stem(wanted, self.name) for wanted in tasks]
        results = [self.folder / f"{stem}.result.json" for stem in stems]
        missing = {stem: wanted for stem, wanted, path in zip(stems, tasks, results, strict=True) if not path.exists()}
        if missing:
            self._work(missing, say)
        return [json.loads(path.read_text()) for path in results]

    def kept(self, wanted: Task) -> list[dict[str, Any]]:
        return _kept(self.folder, wanted, self.name)

    def _work(self, missing: dict[str, Task], say: Say) -> None:
        for stem, wanted in missing.items():
            (self.folder / f"{stem}.task.json").write_text(json.dumps(wanted))
        log = self.folder / "teacher.log"
        worker = Path(__file__).with_name("teacher_worker.py")
        done = 0
        with (
            log.open("a") as errors,
            subprocess.Popen(
                [self.interpreter, str(worker), str(self.folder), self.name, *missing],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                told = json.loads(line) if line.startswith("{") else {}
                if "says" in told:
                    say(f"{self.name}: {told['says']}")
                elif told:
                    done += 1
                    say(f"{self.name}: {done}/{len(missing)} tasks, the last {told['seconds']:.0f} s")
        if process.returncode:
            last = ([text for text in log.read_text().splitlines() if text.strip()] or ["it said nothing"])[-1]
            raise RunFailed(f"the teacher {self.name} failed: {last.strip()} (log: {log})")
        for stem in missing:
            (self.folder / f"{stem}.task.json").unlink()


def _stem(wanted: Task, who: str) -> str:
    """The name of a task: what is asked of whom, then the path that it begins from, if it has one."""
    start = wanted.get("start")
    asked = _digest({key: value for key, value in wanted.items() if key != "start"}, who)
    return asked if start is None else f"{asked}-{_digest({'start': start}, '')[:8]}"


def _kept(folder: Path, wanted: Task, who: str) -> list[dict[str, Any]]:
    asked = _stem({key: value for key, value in wanted.items() if key != "start"}, who)
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{asked}*.result.json"))]


def _digest(wanted: Task, who: str) -> str:
    return hashlib.sha256(f"{who} {json.dumps(wanted, sort_keys=True)}".encode()).hexdigest()[:20]
