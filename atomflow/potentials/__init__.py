"""Potentials: one registry of names, one identity, one batched model for the engine. Importing this loads no torch."""

from atomflow.potentials.base import BatchModel, Edges, Evaluation, Potential, PotentialIdentity

__all__ = ["BatchModel", "Edges", "Evaluation", "Potential", "PotentialIdentity"]
