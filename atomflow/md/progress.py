"""How a run is getting on, for people: speed, time left, temperature, energy drift."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from atomflow.units import FS_PER_PS

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Progress:
    """A moment of a run (of a batch: means over its systems).

    Attributes:
        stage: ``equilibration`` or ``production``.
        step, steps_total: done and asked for, equilibration included.
        time_ps: production time; negative while equilibrating.
        steps_per_s: of this process.
        ns_per_day: simulated by all systems together.
        seconds_left: at that speed; None before the first step.
        temperature_K, target_K: now.
        energy_drift_meV_per_atom_per_ps: change of the conserved energy since production began, per time; None early.
    """

    stage: str
    step: int
    steps_total: int
    time_ps: float
    steps_per_s: float
    ns_per_day: float
    seconds_left: float | None
    temperature_K: float
    target_K: float
    energy_drift_meV_per_atom_per_ps: float | None

    def line(self) -> str:
        """One line of text."""
        drift = self.energy_drift_meV_per_atom_per_ps
        parts = [
            f"{self.stage} {self.time_ps:.2f} ps",
            f"step {self.step}/{self.steps_total}",
            f"{self.steps_per_s:.1f} steps/s",
            f"{self.ns_per_day:.3g} ns/day",
            f"{duration(self.seconds_left)} left",
            f"{self.temperature_K:.0f} K (target {self.target_K:.0f})",
        ]
        return ", ".join(parts + ([] if drift is None else [f"drift {drift:+.3f} meV/atom/ps"]))


class Speed:
    """Steps per second since this process began stepping."""

    def __init__(self, timestep_fs: float, steps_total: int, first_step: int) -> None:
        self._timestep_fs, self._total, self._first = timestep_fs, steps_total, first_step
        self._start = time.monotonic()

    def steps_per_s(self, step: int) -> float:
        elapsed = time.monotonic() - self._start
        return (step - self._first) / elapsed if elapsed > 0 else 0.0

    def ns_per_day(self, step: int, n_systems: int) -> float:
        return self.steps_per_s(step) * self._timestep_fs / FS_PER_PS / 1000 * SECONDS_PER_DAY * n_systems

    def seconds_left(self, step: int) -> float | None:
        rate = self.steps_per_s(step)
        return (self._total - step) / rate if rate > 0 else None


class Moment(Protocol):
    """What a progress line is made of."""

    @property
    def step(self) -> int: ...
    @property
    def steps_total(self) -> int: ...
    def line(self) -> str: ...


def printer(stream: TextIO | None = None, every_s: float = 5.0) -> Callable[[Moment], None]:
    """A progress callable that writes a line every few seconds, in place on a terminal, and always the last one."""
    out = sys.stderr if stream is None else stream
    live = out.isatty()
    last = -float("inf")

    def show(moment: Moment) -> None:
        nonlocal last
        finished = moment.step >= moment.steps_total
        now = time.monotonic()
        if now - last < every_s and not finished:
            return
        last = now
        text = moment.line()
        out.write(f"\r\033[K{text}" + ("\n" if finished else "") if live else text + "\n")
        out.flush()

    return show


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"
