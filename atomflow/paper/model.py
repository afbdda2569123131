"""The publication as data: immutable values with their unit, conditions, place and quote.

A :class:`Paper` holds what was printed, and the literature anchors a comparison needs. It computes nothing; derived
values are in :mod:`atomflow.paper.derived`, consistency checks in :mod:`atomflow.paper.checks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from atomflow.config import StrictModel, parse, read_yaml
from atomflow.errors import InputError, nearest
from atomflow.units import CM_PER_MM, KELVIN_AT_0_CELSIUS, SIEMENS_PER_MILLISIEMENS

DATA = Path(__file__).parent / "data"

#: (printed unit, wanted unit) → factor. Temperatures are the one affine case, see :meth:`Value.in_unit`.
FACTORS = {
    ("mm", "cm"): CM_PER_MM,
    ("mS/cm", "S/cm"): SIEMENS_PER_MILLISIEMENS,
    ("%", "1"): 0.01,
    ("mV", "V"): 1e-3,
}


class Value(StrictModel):
    """One thing the text prints.

    ``value`` is as printed, a list for ranges and series, ``None`` where the text names a quantity and gives no
    number. ``relation`` is ``>`` or ``<`` for a bound. ``rounding`` is half a unit of the last printed digit.
    """

    id: str
    group: str
    quantity: str
    value: float | str | list[float] | list[str] | None
    relation: Literal["<", ">"] | None = None
    rounding: float | None = None
    unit: str
    conditions: str = ""
    where: str
    quote: str
    note: str = ""

    def number(self) -> float:
        """The value, where it is a single number; :class:`InputError` where it is not."""
        if not isinstance(self.value, float):
            raise InputError(f"{self.id} is not a single number: {self.value}")
        return self.value

    def numbers(self) -> list[float]:
        """The values, where they are a range or a series of numbers."""
        if not isinstance(self.value, list) or not all(isinstance(item, float) for item in self.value):
            raise InputError(f"{self.id} is not a list of numbers: {self.value}")
        return [float(item) for item in self.value]

    def interval(self) -> tuple[float, float]:
        """What the printed digits allow: value ± rounding, in the printed unit."""
        half = self.rounding or 0.0
        return self.number() - half, self.number() + half

    def in_unit(self, unit: str) -> float:
        """The number in ``unit``; :class:`InputError` when that would need a factor that makes no sense."""
        if unit == self.unit:
            return self.number()
        if (self.unit, unit) == ("degC", "K"):
            return self.number() + KELVIN_AT_0_CELSIUS
        if (self.unit, unit) not in FACTORS:
            raise InputError(f"{self.id} is in {self.unit}, which does not convert to {unit}")
        return self.number() * FACTORS[self.unit, unit]

    def text(self) -> str:
        """The value as a reader would write it, with its relation and unit."""
        if self.value is None:
            return "not given"
        items = self.value if isinstance(self.value, list) else [self.value]
        shown = " - ".join(_plain(item, self.rounding) for item in items)
        unit = "" if self.unit in ("1", "text", "date") else f" {self.unit}"
        return f"{self.relation or ''}{' ' if self.relation else ''}{shown}{unit}"

    def to_json(self) -> dict[str, Any]:
        return self.model_dump()


class Anchor(StrictModel):
    """A number of the literature: a ``value``, or a range ``low``-``high``, with its provenance mark."""

    id: str
    quantity: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str
    conditions: str
    source: str
    mark: Literal["T", "T2", "C"]
    note: str = ""

    def interval(self) -> tuple[float, float]:
        """``(low, high)``; a single value is an interval of no width."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        if self.value is None:
            raise InputError(f"{self.id} has neither a value nor a range")
        return self.value, self.value

    def text(self) -> str:
        low, high = self.interval()
        shown = _plain(low) if low == high else f"{_plain(low)} - {_plain(high)}"
        return shown if self.unit == "1" else f"{shown} {self.unit}"

    def to_json(self) -> dict[str, Any]:
        return self.model_dump()


class Remark(StrictModel):
    """An oddity of the text that no arithmetic can test."""

    id: str
    text: str


class _Publication(StrictModel):
    values: list[Value]
    not_in_main_text: list[str]
    remarks: list[Remark]


class _Literature(StrictModel):
    anchors: list[Anchor]


@dataclass(frozen=True)
class Paper:
    """Everything printed, by id, in the order of the text; anchors of the literature likewise."""

    by_id: dict[str, Value]
    anchors: dict[str, Anchor]
    not_in_main_text: tuple[str, ...]
    remarks: tuple[Remark, ...]

    def __getitem__(self, name: str) -> Value:
        if name not in self.by_id:
            raise InputError(f"the paper has no value '{name}'{nearest(name, set(self.by_id))}")
        return self.by_id[name]

    def number(self, name: str, unit: str) -> float:
        """The number ``name`` in ``unit``."""
        return self[name].in_unit(unit)

    def anchor(self, name: str) -> Anchor:
        if name not in self.anchors:
            raise InputError(f"there is no literature anchor '{name}'{nearest(name, set(self.anchors))}")
        return self.anchors[name]

    def values(self, group: str | None = None) -> list[Value]:
        """All values, or those of one group; :class:`InputError` names the nearest group for an unknown one."""
        groups = {value.group for value in self.by_id.values()}
        if group is not None and group not in groups:
            raise InputError(
                f"the paper has no group '{group}'{nearest(group, groups)}; groups: {', '.join(sorted(groups))}"
            )
        return [value for value in self.by_id.values() if group is None or value.group == group]

    def with_value(self, name: str, value: Any, **changes: Any) -> Paper:
        """A copy in which one value (and its unit, say) is another: what if the text had printed this?"""
        changed = parse(Value, {**self[name].model_dump(), "value": value, **changes}, name)
        return Paper({**self.by_id, name: changed}, self.anchors, self.not_in_main_text, self.remarks)


def _plain(item: Any, rounding: float | None = None) -> str:
    """A number with the digits it was printed with, where they are known."""
    if not isinstance(item, float):
        return str(item)
    return f"{item:g}" if rounding is None else f"{item:.{max(0, round(-math.log10(2 * rounding)))}f}"


def _by_id(items: list[Any], where: str) -> dict[str, Any]:
    table = {item.id: item for item in items}
    if len(table) != len(items):
        raise InputError(f"{where}: an id is used twice")
    return table


@lru_cache(maxsize=1)
def load() -> Paper:
    """The publication and the literature anchors, read once from the package's own files."""
    publication = parse(_Publication, read_yaml(DATA / "publication.yaml"), "publication.yaml")
    literature = parse(_Literature, read_yaml(DATA / "literature.yaml"), "literature.yaml")
    return Paper(
        _by_id(publication.values, "publication.yaml"),
        _by_id(literature.anchors, "literature.yaml"),
        tuple(publication.not_in_main_text),
        tuple(publication.remarks),
    )
