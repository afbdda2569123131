"""The publication (10.1039/d1ta10816f) as data: printed values, derived values, consistency checks.

>>> from atomflow import paper
>>> paper.get("fc.Ea1").value
0.27
"""

from __future__ import annotations

from atomflow.errors import InputError, nearest, said
from atomflow.paper.checks import check
from atomflow.paper.derived import Derived, derived
from atomflow.paper.finding import Check
from atomflow.paper.model import Anchor, Paper, Value, load
from atomflow.paper.readings import Reading, readings


def get(name: str) -> Value | Derived | Anchor | Check:
    """Anything by its id: a printed value, a derived one (``d.``), an anchor (``lit.``), a check (``INC-``).

    Raises:
        InputError: no such id; names the nearest one.
    """
    if not isinstance(name, str):
        raise InputError(f"anything in the paper is known by its id, like 'fc.Ea1', not by {said(name)}")
    publication = load()
    known: dict[str, Value | Derived | Anchor | Check] = {**publication.by_id, **publication.anchors, **derived()}
    known |= {finding.id: finding for finding in check()}
    if name not in known:
        raise InputError(f"the paper has no '{name}'{nearest(name, set(known))}")
    return known[name]


def values(group: str | None = None) -> list[Value]:
    """All printed values, or those of one group."""
    return load().values(group)


__all__ = [
    "Anchor", "Check", "Derived", "Paper", "Reading", "Value", "check", "derived", "get", "load", "readings", "values",
]  # fmt: skip
