"""A number with its interval: the one shape in which atomflow reports anything measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A value with the interval that covers the truth with probability ``level``.

    ``value is None`` with a finite ``high`` is an upper limit (nothing was seen to move); all three ``None`` means
    that nothing can be said. ``low`` of an upper limit is ``None``.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95

    @classmethod
    def upper_limit(cls, high: float, level: float = 0.95) -> Estimate:
        return cls(None, None, float(high), level)

    @classmethod
    def unknown(cls, level: float = 0.95) -> Estimate:
        return cls(None, None, None, level)

    @property
    def is_upper_limit(self) -> bool:
        return self.value is None and self.high is not None

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in other units; ``factor`` is positive."""
        if factor <= 0:
            raise ValueError("an estimate is scaled by a positive factor")

        def times(number: float | None) -> float | None:
            return None if number is None else number * factor

        return Estimate(times(self.value), times(self.low), times(self.high), self.level)

    def overlaps(self, low: float, high: float) -> bool:
        """Whether the interval meets ``[low, high]``. An unknown estimate meets nothing."""
        if self.high is None:
            return False
        return (self.low if self.low is not None else float("-inf")) <= high and self.high >= low

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "level": self.level}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Estimate:
        return cls(data["value"], data.get("low"), data["high"], data.get("level", 0.95))

    def __format__(self, spec: str) -> str:
        spec = spec or ".3g"
        if self.value is None:
            return "unknown" if self.high is None else f"< {self.high:{spec}}"
        if self.low is None or self.high is None:
            return f"{self.value:{spec}} (no interval)"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, "")
