"""Potentials: one registry of names, one identity, one batched model for the engine. Importing this loads no torch."""

from atomflow.potentials.base import BatchModel, Edges, Evaluation, Potential, PotentialIdentity
from atomflow.potentials.loading import load
from atomflow.potentials.registry import DEFAULT

__all__ = ["DEFAULT", "BatchModel", "Edges", "Evaluation", "Potential", "PotentialIdentity", "load"]
