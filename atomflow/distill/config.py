"""The files a user writes: what to sample, and how to train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from atomflow.config import StrictModel
from atomflow.distill.sources.config import Source

Fraction = Annotated[float, Field(ge=0, le=1)]


class SampleConfig(StrictModel):
    """``atomflow potential sample``: sources of configurations, one seed, and what is held out for the test."""

    name: str
    seed: int = 1
    held_out_fraction: Fraction = 0.12
    held_out_silicon: tuple[float, ...] = (1.5,)
    sources: tuple[Source, ...]
    keep: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _some_source(self) -> SampleConfig:
        if not self.sources:
            raise ValueError("no sources are given")
        return self


class StudentConfig(StrictModel):
    """``atomflow potential train``: the student's shape and its training, in mace-torch's terms.

    ``start_from`` is the folder of an earlier student of the same shape, whose weights and zero of energy are taken
    over: how a further round with more labels goes on. ``grow_from`` is a shipped student or a ``.mace.npz`` file with
    fewer channels, a lower ``message_degree``, ``max_ell`` or ``correlation``: the new one begins with its energies and
    zero of energy.
    ``message_degree`` is mace-torch's max_L: 0 sends scalars between atoms (64x0e), 1 vectors too (64x0e+64x1o), which
    brings a student nearer to its teacher and costs a bit more than twice the time a step.
    ``committee`` trains so many members, each with a seed and a validation split of its own; how far they disagree is
    the student's doubt.
    ``optimizer``: SOAP needs fewer passes than Adam (measured in docs/distill.md). The student is the mean of the
    weights along the training, each step's worth ``ema_decay`` of the next one's.
    ``processes`` of ``threads`` threads each share every batch, on the cores of one machine: faster than one process
    of as many threads.
    ``repulsion`` adds the repulsion of nuclei below the distances of the training set to the trained student; training
    itself runs without it.
    """

    name: str
    labelled: tuple[str, ...]
    start_from: str | None = None
    grow_from: str | None = None
    seed: int = 1
    elements: tuple[str, ...] = ("B", "O", "Na", "Si", "P", "Zn", "Zr")
    channels: int = Field(64, ge=1)
    message_degree: int = Field(0, ge=0, le=2)
    max_ell: int = Field(2, ge=0, le=4)
    correlation: int = Field(2, ge=1, le=4)
    layers: int = Field(2, ge=1, le=4)
    cutoff_A: float = Field(5.0, gt=1)
    average_neighbours: float = Field(40.0, gt=0)
    loss: Literal["universal", "weighted", "stress"] = "universal"
    energy_weight: float = Field(1.0, ge=0)
    forces_weight: float = Field(100.0, ge=0)
    stress_weight: float = Field(1.0, ge=0)
    batch_size: int = Field(4, ge=1)
    optimizer: Literal["soap", "adam"] = "soap"
    learning_rate: float = Field(0.05, gt=0)
    learning_rate_decay: float = Field(0.94, gt=0, le=1)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    epochs: int = Field(60, ge=1)
    largest_force_eV_per_A: float = Field(25.0, gt=0)
    validation_fraction: Fraction = 0.07
    trained_for: str
    threads: int = Field(1, ge=1)
    processes: int = Field(1, ge=1, le=64)
    committee: int = Field(1, ge=1, le=10)
    repulsion: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> StudentConfig:
        if self.start_from and self.grow_from:
            raise ValueError("start_from and grow_from exclude each other: the weights come from one student")
        if self.message_degree > self.max_ell:
            raise ValueError("message_degree cannot exceed max_ell, the degree of what the messages are made of")
        if self.processes > self.batch_size:
            raise ValueError("processes cannot exceed batch_size: each takes some frames of every batch")
        return self

    @property
    def hidden_irreps(self) -> str:
        """What an atom sends, in e3nn's terms: 64x0e, or 64x0e+64x1o."""
        return "+".join(f"{self.channels}x{degree}{'eo'[degree % 2]}" for degree in range(self.message_degree + 1))
