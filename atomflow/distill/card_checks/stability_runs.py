"""Seeds of one system at the highest temperature of its use, all in one batch; how far each came, at any moment.

A seed has blown up when the engine's guards ended it (too hot, a force beyond all bounds, two atoms too close) or when
its conserved energy drifts by more than :data:`DRIFT_MEV_PER_ATOM_PER_PS`. Runs go on where they were stopped or
killed; one that blew up is not tried again.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow import runs
from atomflow.cell import Cell
from atomflow.errors import RunFailed, RunStopped
from atomflow.md.config import MDConfig
from atomflow.md.packing import run_packed
from atomflow.md.progress import Progress
from atomflow.md.runner import MDJob
from atomflow.potentials import Potential
from atomflow.units import FS_PER_PS

#: Atoms nearer than this (Å) have fallen into one another; the shortest bond here is B–O, 1.2 Å at its closest.
CLOSEST_A = 0.8
#: The run ends above this many times its temperature + 1000 K.
HOTTEST = 2.0
#: Of the energy that dynamics conserves, thermostat included; judged from this time on.
DRIFT_MEV_PER_ATOM_PER_PS, DRIFT_FROM_PS = 1.0, 1.0
#: A run that is killed outright loses no more than this.
CHECKPOINT_PS = 0.5
#: Frames of a run in which the shortest contact is looked for.
FRAMES_LOOKED_AT = 20


@dataclass(frozen=True)
class Trial:
    """So many seeds of one system; ``cell`` gives the start of each seed."""

    name: str
    title: str
    cell: Callable[[int], Cell]
    temperature_K: float
    time_ps: float
    timestep_fs: float
    seeds: int

    def config(self, seed: int) -> MDConfig:
        return MDConfig(
            temperature_K=self.temperature_K, time_ps=self.time_ps, equilibration_ps=0.2, timestep_fs=self.timestep_fs,
            seed=seed, thermostat_time_fs=200.0, frame_interval_fs=100.0, checkpoint_interval_ps=CHECKPOINT_PS,
            min_distance_A=CLOSEST_A, max_temperature_factor=HOTTEST,
        )  # fmt: skip

    def folder(self, root: Path, potential: Potential, seed: int) -> Path:
        """Named by the potential's checksum: a changed model runs anew."""
        run = f"{self.temperature_K:g}K-{self.time_ps:g}ps-{seed}"
        return root / f"{self.name}-{potential.identity.sha256[:8]}-{run}"


@dataclass(frozen=True)
class Stood:
    """How far one seed came.

    Attributes:
        state: ``waiting``, ``running``, ``stopped``, ``done`` or ``failed``. time_ps: of production, on disk.
        blown_up: and ``reason`` says why. hottest_K: of the stored rows. closest_A: in some stored frames.
        drift_meV_per_atom_per_ps: of the conserved energy, straight line through all rows of production.
    """

    seed: int
    state: str
    time_ps: float = 0.0
    blown_up: bool = False
    reason: str | None = None
    hottest_K: float | None = None
    closest_A: float | None = None
    drift_meV_per_atom_per_ps: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def go_on(trial: Trial, potential: Potential, root: Path, minutes: float | None, say: Callable[[str], None]) -> None:
    """Run all seeds that are not at their end, in one batch, for at most so many minutes (None: to the end).

    Raises:
        RunStopped: a signal came; the same call goes on.
    """
    if minutes == 0:
        return
    root.mkdir(parents=True, exist_ok=True)
    jobs = []
    for seed in range(1, trial.seeds + 1):
        folder = trial.folder(root, potential, seed)
        if not (folder / "run.json").exists() or runs.open_run(folder).manifest["state"] not in ("done", "failed"):
            jobs.append(MDJob(trial.cell(seed), trial.config(seed), folder, {"card": trial.name}))
    if not jobs:
        return
    clock = _Clock(_wall_file(trial, potential, root), minutes)

    def show(folders: Sequence[Path], moment: Progress) -> None:
        if clock.tick():
            say(f"{trial.name}, {len(folders)} seeds: {moment.line()}")
        if clock.over:
            signal.raise_signal(signal.SIGUSR1)  # as a queue does at the end of its time: a clean stop at this step

    try:
        run_packed(jobs, potential, len(jobs), show, say)
    except RunStopped:
        if not clock.over:
            raise
    except RunFailed as error:
        say(str(error))
    finally:
        clock.write()


def standing(trial: Trial, potential: Potential, root: Path) -> list[Stood]:
    """How far every seed came, read from the run folders alone: also while they run, or after they were killed."""
    return [_stood(trial, trial.folder(root, potential, seed), seed) for seed in range(1, trial.seeds + 1)]


def wall_seconds(trial: Trial, potential: Potential, root: Path) -> float:
    """What the batch has taken so far, of all calls."""
    return _seconds(_wall_file(trial, potential, root))


def _stood(trial: Trial, folder: Path, seed: int) -> Stood:
    if not (folder / "run.json").exists():
        return Stood(seed, "waiting")
    run = runs.open_run(folder)
    manifest = run.manifest
    state, time_ps = str(manifest["state"]), max(0.0, float(manifest["progress"].get("time_ps", 0.0)))
    thermo = run.thermo()
    drift = _drift(thermo, int(manifest["cell"]["n_atoms"]))
    reason = manifest.get("reason") if state == "failed" else None
    if reason is None and drift is not None and abs(drift) > DRIFT_MEV_PER_ATOM_PER_PS:
        reason = f"the conserved energy drifts by {drift:+.2f} meV/atom/ps"
    temperatures = thermo.get("temperature_K", np.empty(0))
    hottest = float(np.nanmax(temperatures)) if len(temperatures) else None
    return Stood(seed, state, time_ps, reason is not None, reason, hottest, _closest_A(run), drift)


def _drift(thermo: dict[str, np.ndarray], n_atoms: int) -> float | None:
    """meV/atom/ps of the conserved energy in production; None before there is enough of it."""
    if "conserved_energy_eV" not in thermo:
        return None
    produced = (thermo["time_fs"] >= 0) & np.isfinite(thermo["conserved_energy_eV"])
    times = thermo["time_fs"][produced] / FS_PER_PS
    if len(times) < 3 or times[-1] < DRIFT_FROM_PS:
        return None
    return float(1000 * np.polyfit(times, thermo["conserved_energy_eV"][produced], 1)[0] / n_atoms)


def _closest_A(run: Any) -> float | None:
    """The shortest distance of two atoms in some stored frames, evenly spaced, the last among them."""
    shortest: list[float] = []
    for k in sorted({round(x) for x in np.linspace(0, run.n_frames - 1, FRAMES_LOOKED_AT)}) if run.n_frames else []:
        positions, lattice = run.positions_A(k, k + 1)[0], run.lattices_A(k, k + 1)[0]
        apart = (positions[:, None] - positions[None]) @ np.linalg.inv(lattice)
        # nearest images by rounding: right for distances below half of the cell's heights
        distances = np.linalg.norm((apart - np.round(apart)) @ lattice, axis=2)
        shortest.append(float(distances[np.triu_indices(len(positions), 1)].min()))
    return min(shortest) if shortest else None


class _Clock:
    """Time spent, kept in a file while it passes, and whether it is up."""

    EVERY_S = 5.0

    def __init__(self, file: Path, minutes: float | None) -> None:
        self._file, self._before = file, _seconds(file)
        self._begun = self._told = time.monotonic()
        self._end = None if minutes is None else self._begun + 60 * minutes

    @property
    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def tick(self) -> bool:
        """Keep the time; whether the last word is some seconds old."""
        self.write()
        if time.monotonic() - self._told < self.EVERY_S:
            return False
        self._told = time.monotonic()
        return True

    def write(self) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps({"seconds": self._before + time.monotonic() - self._begun}))
        os.replace(partial, self._file)


def _wall_file(trial: Trial, potential: Potential, root: Path) -> Path:
    return root / f"{trial.folder(root, potential, 0).name}.wall.json"


def _seconds(file: Path) -> float:
    return float(json.loads(file.read_text())["seconds"]) if file.exists() else 0.0
