"""Molecular dynamics: one engine for CPU and CUDA, writing run folders.

    from atomflow import md, potentials
    from atomflow.cell import read_cell

    config = md.MDConfig(ensemble="nvt", temperature_K=900, time_ps=20, equilibration_ps=2, seed=1)
    md.run(read_cell("cell.extxyz"), potentials.load("chgnet"), config, "run")

Importing this needs no torch; calling it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atomflow.md.config import MDConfig

if TYPE_CHECKING:
    from atomflow.md.packing import run_packed
    from atomflow.md.progress import Progress
    from atomflow.md.relaxation import RelaxResult, relax
    from atomflow.md.runner import MDJob, resume, run, run_batch
    from atomflow.md.throughput import Knee, knee

__all__ = ["Knee", "MDConfig", "MDJob", "Progress", "RelaxResult", "knee", "relax", "resume", "run", "run_batch",
           "run_packed"]


def __getattr__(name: str) -> Any:
    """Load the parts that need torch only when they are asked for."""
    import importlib

    homes = {"Progress": "progress", "RelaxResult": "relaxation", "relax": "relaxation", "Knee": "throughput",
             "knee": "throughput", "run_packed": "packing"}
    if name not in __all__:
        raise AttributeError(f"module 'atomflow.md' has no attribute '{name}'")
    module = importlib.import_module(f"atomflow.md.{homes.get(name, 'runner')}")
    value = getattr(module, name)
    globals()[name] = value
    return value
