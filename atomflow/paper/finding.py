"""What a consistency check reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "inconsistent", "cannot decide"]
Severity = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Check:
    """One consistency check of the publication.

    ``status`` follows from ``numbers``, which are computed from the printed values at every call; ``severity`` says
    how much a comparison would suffer from overlooking it.
    """

    id: str
    title: str
    severity: Severity
    status: Status
    numbers: Mapping[str, float | None]
    sentence: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "numbers": dict(self.numbers)}


def agree(intervals: list[tuple[float, float]]) -> bool:
    """Whether the rounding intervals share a point, that is whether all could be prints of one number."""
    return max(low for low, _ in intervals) <= min(high for _, high in intervals)


def near(value: float, reference: float, tolerance: float) -> bool:
    """Whether ``value`` is within the fraction ``tolerance`` of ``reference``."""
    return abs(value - reference) <= tolerance * abs(reference)
