"""Melt and quench: a random packing becomes a glass, a packed film becomes the film of a sealed boundary.

    from atomflow import potentials, quench
    from atomflow.cell import read_cell

    result = quench.run(read_cell("melt.extxyz"), potentials.load("chgnet"), quench.QuenchConfig(seed=1), "glass")

Importing this needs no torch; calling it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atomflow.quench.config import QuenchConfig
from atomflow.quench.stages import Stage, held_regions, stages

if TYPE_CHECKING:
    from atomflow.quench.runner import resume, run

__all__ = ["QuenchConfig", "Stage", "held_regions", "resume", "run", "stages"]


def __getattr__(name: str) -> Any:
    """Load the parts that need torch only when they are asked for."""
    if name not in ("resume", "run"):
        raise AttributeError(f"module 'atomflow.quench' has no attribute '{name}'")
    from atomflow.quench import runner

    return getattr(runner, name)
