"""A teacher that is not at hand: what it answered before is used, nothing new is asked."""

from __future__ import annotations

from pathlib import Path

from atomflow.distill.sides import Elsewhere, Say, Task
from atomflow.errors import AtomflowError


class TeacherSilent(AtomflowError):
    """The teacher has not answered this before and is not asked now."""


class Kept(Elsewhere):
    """The kept answers of a teacher, in the folder where :class:`Elsewhere` left them."""

    def __init__(self, teacher: str, folder: Path) -> None:
        self.name, self.folder, self.interpreter = teacher, folder, ""

    def _work(self, missing: dict[str, Task], say: Say) -> None:
        where = Path(self.folder.parent.name, self.folder.name)  # a card goes where the rest of the path means nothing
        raise TeacherSilent(f"{len(missing)} answers of {self.name} are not among those kept in {where}")
