"""Lattice: phonons and hop barriers of relaxed cells, the rates of harmonic theory and the D they add up to."""

from atomflow.lattice.hops import HopResult, hop
from atomflow.lattice.network import NetworkResult, network
from atomflow.lattice.phonons import PhononResult, phonons

__all__ = ["HopResult", "NetworkResult", "PhononResult", "hop", "network", "phonons"]
