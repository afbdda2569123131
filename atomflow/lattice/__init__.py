"""Lattice: phonons and hop barriers of relaxed cells, and the rates of harmonic theory."""

from atomflow.lattice.hops import HopResult, hop
from atomflow.lattice.phonons import PhononResult, phonons

__all__ = ["HopResult", "PhononResult", "hop", "phonons"]
