"""What a loop of active learning is asked to do: where to look, whom to ask, how to train, when to stop."""

from __future__ import annotations

from pydantic import Field, model_validator

from atomflow.config import StrictModel
from atomflow.distill.config import DynamicsSource, Fraction, Source, StudentConfig

#: what a source's ``potential`` says where the student of the round is meant
STUDENT = "student"


class Teacher(StrictModel):
    """Who labels: a teacher of ``atomflow potential label`` and the interpreter of its environment.

    ``python: here`` is atomflow's own interpreter, for teachers that live beside it (CHGNet, MACE files); without it an
    environment is made once, which needs the network.
    """

    name: str
    python: str | None = None


class Choice(StrictModel):
    """Which frames of a round go to the teacher.

    Attributes:
        doubt_eV_per_A: a frame is doubtful if the force spread of one of its atoms is beyond this.
        frames: at most so many a round, the most doubtful and then those farthest from what is chosen already.
        candidates: out of so many of the most doubtful; three times ``frames`` when not given.
        largest_doubt_eV_per_A: frames beyond this have fallen apart and would teach nothing.
        closest_contact: nor would frames with atoms closer than this part of their natural distance.
    """

    doubt_eV_per_A: float = Field(gt=0)
    frames: int = Field(40, ge=1)
    candidates: int | None = Field(None, ge=1)
    largest_doubt_eV_per_A: float = Field(20.0, gt=0)
    closest_contact: float = Field(0.6, ge=0, le=1)


class Stop(StrictModel):
    """When the loop is over: as soon as one of these holds.

    Attributes:
        rounds: so many rounds were done.
        doubtful_fraction: no larger part of a round's fresh frames is doubtful.
        force_rmse_eV_per_A: the force RMSE on the held-out frames of ``labelled`` is no larger.
        hours: the rounds took so long, stops and waiting in between not counted.
    """

    rounds: int = Field(default=5, ge=1)
    doubtful_fraction: Fraction = 0.05
    force_rmse_eV_per_A: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)


class ActiveStudent(StudentConfig):
    """The student of every round, as in ``student.yaml``; where it starts and what it learns from, the rounds say."""

    labelled: tuple[str, ...] = ()
    committee: int = Field(default=3, ge=2, le=10)


class ActiveConfig(StrictModel):
    """``atomflow potential active``: rounds of dynamics, doubt, labels and training.

    Attributes:
        labelled: labelled sets that the first student was, or will be, trained on; their held-out frames judge all.
        start_from: folder of the first student; without it one is trained on ``labelled`` at the start.
        student: shape and training of every round, a committee of three unless it says otherwise.
        sources: where to look, as in ``sample.yaml``; ``potential: student`` is the student of the round. Each round
            draws anew.
        held_out_fraction, held_out_silicon: as in ``sample.yaml``; use those that ``labelled`` was sampled with.
    """

    name: str
    seed: int = 1
    labelled: tuple[str, ...]
    start_from: str | None = None
    teacher: Teacher
    student: ActiveStudent
    sources: tuple[Source, ...]
    choose: Choice
    stop: Stop = Stop()
    held_out_fraction: Fraction = 0.12
    held_out_silicon: tuple[float, ...] = (1.5,)

    @model_validator(mode="after")
    def _can_be_run(self) -> ActiveConfig:
        if self.student.start_from is not None or self.student.labelled:
            raise ValueError("student.labelled and student.start_from: the rounds set them; labelled and start_from "
                             "of the first student stand at the top level")
        if not self.sources:
            raise ValueError("no sources are given")
        if not self.labelled:
            raise ValueError("labelled: a first set is needed")
        return self

    def student_of(self, number: int, labelled: tuple[str, ...], start_from: str | None) -> StudentConfig:
        """The training of round ``number`` (0: before the first), with seeds of its own."""
        shared = self.student.model_dump()
        return StudentConfig.model_validate({**shared, "labelled": labelled, "start_from": start_from,
                                             "seed": self.student.seed + 100 * number})

    def sources_for(self, potential: str) -> tuple[Source, ...]:
        """The sources with ``potential`` where the student is meant."""
        return tuple(source.model_copy(update={"potential": potential})
                     if isinstance(source, DynamicsSource) and source.potential == STUDENT else source
                     for source in self.sources)
