"""What a check is given and what it gives: the two shapes that all sections of a card share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomflow.distill.card_checks.settings import CardSettings
from atomflow.distill.frames import Frame
from atomflow.distill.sides import Here, Say, Side
from atomflow.potentials import Potential


@dataclass(frozen=True)
class Context:
    """Everything a check may ask.

    Attributes:
        potential: the student; ``name`` is what loads it again (registry name or path).
        student, teacher: both sides; ``teacher`` is None where there is none, and ``no_teacher`` says why.
        folder: where answers and runs are kept. boundary_energies: a JSON file of them, if given. frames: labelled
            ones, if they are at hand. dft_points: a folder of them, if there is one.
    """

    potential: Potential
    name: str
    student: Here
    teacher: Side | None
    no_teacher: str
    settings: CardSettings
    folder: Path
    say: Say
    boundary_energies: Path | None = None
    frames: Sequence[Frame] = ()
    dft_points: Path | None = None

    def knows(self, elements: set[str]) -> bool:
        known = self.potential.identity.elements
        return known == ("any",) or elements <= set(known)


@dataclass(frozen=True)
class Work:
    """What a check costs: evaluations times atoms, by student, by teacher, by the second reference (CHGNet); and the
    seconds that it may take at most."""

    student: float = 0.0
    teacher: float = 0.0
    chgnet: float = 0.0
    at_most_s: float = math.inf


@dataclass
class Section:
    """One measured section.

    Attributes:
        lines: findings in words. columns, rows: a table, cells already text.
        figure_png: base64. missing: what could not be measured and why. facts: numbers for machines.
        unfinished: more would be measured if it were asked again.
    """

    lines: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figure_png: str | None = None
    missing: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    unfinished: bool = False

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def png(figure: Any) -> str:
    """A matplotlib figure as base64."""
    import base64
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return base64.b64encode(buffer.getvalue()).decode()
