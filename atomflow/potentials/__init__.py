"""Potentials: one registry of names, one identity, one batched model for the engine. Importing this loads no torch."""

from atomflow.potentials.base import BatchModel, Edges, Evaluation, Potential, PotentialIdentity
from atomflow.potentials.registry import DEFAULT, load

__all__ = ["DEFAULT", "BatchModel", "Edges", "Evaluation", "Potential", "PotentialIdentity", "load"]
