"""Every consistency check of the publication, run on the values as printed or on a changed copy of them."""

from __future__ import annotations

from atomflow.paper import checks_cycling, checks_material, checks_resistance
from atomflow.paper.finding import Check
from atomflow.paper.model import Paper, load

CHECKS = (*checks_resistance.CHECKS, *checks_cycling.CHECKS, *checks_material.CHECKS)


def check(paper: Paper | None = None) -> list[Check]:
    """All checks in the order of their numbers."""
    paper = paper or load()
    return sorted((one(paper) for one in CHECKS), key=lambda finding: finding.id)
