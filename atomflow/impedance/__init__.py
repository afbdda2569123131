"""Impedance: from the conductivities of grain, boundary and film to the resistances and the spectrum of a cell."""

from atomflow.impedance.beside_paper import Row, beside_paper
from atomflow.impedance.ceramics import Ceramic, CeramicsResult, ceramics
from atomflow.impedance.microstructure import Layer, Microstructure
from atomflow.impedance.spectrum import Arc, Spectrum, spectrum

__all__ = ["Arc", "Ceramic", "CeramicsResult", "Layer", "Microstructure", "Row", "Spectrum", "beside_paper", "ceramics",
           "spectrum"]
