"""How a quench is getting on: over all its stages and replicas, not the one run of the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atomflow.md.progress import Progress, Speed, duration


@dataclass(frozen=True)
class QuenchProgress:
    """A moment of a quench.

    Attributes:
        stage: name of the stage. replica, replicas: counted from 1.
        step, steps_total: over all stages and replicas; a step of a relaxation counts as one.
        seconds_left: at the mean speed of this process so far; None before the first step.
        inner: the run's own progress; None in a relaxation.
    """

    stage: str
    replica: int
    replicas: int
    step: int
    steps_total: int
    seconds_left: float | None
    inner: Progress | None

    def line(self) -> str:
        """One line of text."""
        where = f"replica {self.replica} of {self.replicas}, " if self.replicas > 1 else ""
        left = "time left not known yet" if self.seconds_left is None else f"about {duration(self.seconds_left)} left"
        done = f"{100 * self.step / self.steps_total:.0f} %, {left}"
        now = "" if self.inner is None else f", {self.inner.temperature_K:.0f} K (target {self.inner.target_K:.0f})"
        return f"{where}{self.stage}: {done}{now}"


Report = Callable[[QuenchProgress], None]


class Watch:
    """Counts the steps of all stages, and tells ``report``.

    Args:
        steps: of the stages of one replica, in order.
    """

    def __init__(self, steps: Sequence[int], replicas: int, report: Report | None) -> None:
        self._steps, self._replicas, self._report = list(steps), replicas, report
        self._total = sum(steps) * replicas
        self._speed: Speed | None = None

    def at(self, replica: int, stage: int, name: str) -> Callable[[int, Progress | None], None]:
        """The callable to which one stage tells its steps."""
        before = replica * sum(self._steps) + sum(self._steps[:stage])

        def tell(step: int, inner: Progress | None) -> None:
            if self._report is None:
                return
            done = min(before + step, self._total)
            if self._speed is None:  # what was done before this process came is not its speed
                self._speed = Speed(1.0, self._total, done)
            self._report(QuenchProgress(name, replica + 1, self._replicas, done, self._total,
                                        self._speed.seconds_left(done), inner))

        return tell
