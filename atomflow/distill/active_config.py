"""What a loop of active learning is asked to do: where to look, whom to ask, how to train, when to stop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from atomflow.config import StrictModel
from atomflow.distill.config import Fraction, StudentConfig
from atomflow.distill.sources.config import GuidedSource, Source

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
        by: ``doubt``, or ``random``: so many of the whole fresh frames, whatever their doubt.
        doubt_eV_per_A: a frame is doubtful if the force spread of one of its atoms is beyond this.
        frames: at most so many a round, the most doubtful and then those farthest from what is chosen already.
        candidates: out of so many of the most doubtful; three times ``frames`` when not given.
        largest_doubt_eV_per_A: frames beyond this have fallen apart and would teach nothing.
        closest_contact: nor would frames with atoms closer than this part of their natural distance.
    """

    by: Literal["doubt", "random"] = "doubt"
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
        force_rmse_eV_per_A: the force RMSE on the exam is no larger; without one, on ``labelled``'s held-out frames.
        hours: the rounds took so long, stops and waiting in between not counted.
    """

    rounds: int = Field(default=5, ge=1)
    doubtful_fraction: Fraction = 0.05
    force_rmse_eV_per_A: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)


class Exam(StrictModel):
    """Labelled frames of where the student is to become good: they judge every round and are never trained on.

    Attributes:
        labelled: sets that are labelled already; or
        sources: where to draw from, as in ``sample.yaml``, once, before the first round, for the teacher to label.
            ``potential: student`` is the student that the loop begins with; another one (CHGNet, say) judges fairer.
        frames: so many of what the sources give, drawn at random; all when not given.
    """

    labelled: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    frames: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Exam:
        if bool(self.labelled) == bool(self.sources):
            raise ValueError("give either sources to draw the exam from, or labelled sets")
        return self


class Further(StrictModel):
    """Members 2, 3, ... of the committee where they are smaller than the student: they only have to doubt.

    ``epochs`` is that of every round (the student's when not given). ``first_frames`` (all when not given),
    ``first_epochs`` and ``first_learning_rate`` are for members that begin with nothing, before the first round: they
    learn from so many training frames of ``labelled``.
    """

    channels: int | None = Field(default=None, ge=1)
    max_ell: int | None = Field(default=None, ge=0, le=4)
    correlation: int | None = Field(default=None, ge=1, le=4)
    epochs: int | None = Field(default=None, ge=1)
    first_frames: int | None = Field(default=None, ge=2)
    first_epochs: int = Field(default=15, ge=1)
    first_learning_rate: float = Field(default=0.01, gt=0)


class ActiveStudent(StudentConfig):
    """The student of every round, as in ``student.yaml``; where it starts and what it learns from, the rounds say.

    What is not given of its shape is that of the student it starts from. ``first_epochs`` is for a first student that
    begins with nothing, ``epochs`` for every round.
    """

    labelled: tuple[str, ...] = ()
    committee: int = Field(default=3, ge=2, le=10)
    first_epochs: int | None = Field(default=None, ge=1)
    further: Further | None = None


class ActiveConfig(StrictModel):
    """``atomflow potential active``: rounds of dynamics, doubt, labels and training.

    Attributes:
        labelled: labelled sets that the first student was, or will be, trained on; every round learns from them too.
        start_from: the first student: a shipped one by name, a ``.mace.npz`` file, or the folder of a trained
            committee; without it one is trained on ``labelled`` at the start. Members that it does not bring along are.
        old_frames: so many of the training frames of ``labelled``, drawn anew for every round, keep the student from
            forgetting; all of them when not given.
        student: shape and training of every round, a committee of three unless it says otherwise.
        sources: where to look, as in ``sample.yaml``; ``potential: student`` is the student of the round. Each round
            draws anew.
        exam: judges what the loop is for. Without one the held-out frames of ``labelled`` do.
        control: also label as many frames drawn at random from every round, and train a second student on those:
            what choosing by doubt is worth. It costs as much again as labels and the student's own training.
        held_out_fraction, held_out_silicon: as in ``sample.yaml``; use those that ``labelled`` was sampled with.
    """

    name: str
    seed: int = 1
    labelled: tuple[str, ...] = ()
    start_from: str | None = None
    old_frames: int | None = Field(None, ge=1)
    teacher: Teacher
    student: ActiveStudent
    sources: tuple[Source, ...]
    exam: Exam | None = None
    choose: Choice
    control: bool = False
    stop: Stop = Stop()
    held_out_fraction: Fraction = 0.12
    held_out_silicon: tuple[float, ...] = (1.5,)

    @model_validator(mode="after")
    def _can_be_run(self) -> ActiveConfig:
        if self.student.start_from or self.student.grow_from or self.student.labelled:
            raise ValueError("student.labelled, student.start_from and student.grow_from: the rounds set them; "
                             "labelled and start_from of the first student stand at the top level")
        if not self.sources:
            raise ValueError("no sources are given")
        if not self.labelled and not (self.start_from and self.exam):
            raise ValueError("labelled: a first set is needed, or a student to start_from and an exam to judge it")
        if self.control and self.choose.by == "random":
            raise ValueError("control: with choose.by random there is nothing to compare it with")
        return self

    def sources_for(self, potential: str, sources: tuple[Source, ...] | None = None) -> tuple[Source, ...]:
        """The sources (the rounds' own unless given) with ``potential`` where the student is meant."""
        return tuple(source.model_copy(update={"potential": potential})
                     if isinstance(source, GuidedSource) and source.potential == STUDENT else source
                     for source in (self.sources if sources is None else sources))
