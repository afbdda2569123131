"""A simulated impedance spectrum: R‖CPE elements in series.

    Z(ω) = Σ R/(1 + (iωτ)^α),   τ = R C

For α = 1 a semicircle; below it a depressed arc of the same peak frequency, as CPEs give. Capacities per area follow
from permittivities by the brick-layer model: grain ε_g ε₀/L, boundaries ε_b ε₀ (d + t)/(t L); the interface's is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.impedance.microstructure import Microstructure
from atomflow.plain import Shown
from atomflow.units import CM_PER_NM, CM_PER_UM, VACUUM_PERMITTIVITY_F_PER_CM

#: Arcs whose time constants are nearer than this are not told apart by eye.
_APART = 10.0


@dataclass(frozen=True)
class Arc:
    """One R‖CPE: resistance in Ω cm², capacity in F/cm², CPE exponent."""

    name: str
    resistance_ohm_cm2: float
    capacity_F_per_cm2: float
    exponent: float

    @property
    def peak_Hz(self) -> float:
        """Frequency of the arc's top."""
        return 1.0 / (2.0 * np.pi * self.resistance_ohm_cm2 * self.capacity_F_per_cm2)

    def impedance_ohm_cm2(self, frequency_Hz: np.ndarray | float) -> np.ndarray:
        """(n,) complex."""
        turn = 1j * 2.0 * np.pi * np.asarray(frequency_Hz) * self.resistance_ohm_cm2 * self.capacity_F_per_cm2
        return self.resistance_ohm_cm2 / (1.0 + turn**self.exponent)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "peak_Hz": self.peak_Hz}


@dataclass(frozen=True, repr=False)
class Spectrum(Shown):
    """Arcs in series, and the impedance over frequencies that reach past all of them."""

    arcs: tuple[Arc, ...]
    frequency_Hz: np.ndarray
    impedance_ohm_cm2: np.ndarray

    @property
    def total_ohm_cm2(self) -> float:
        return sum(arc.resistance_ohm_cm2 for arc in self.arcs)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Neighbouring arcs that a measurement would not tell apart."""
        peaks = sorted(self.arcs, key=lambda arc: -arc.peak_Hz)
        return tuple(f"the arcs of {a.name} and {b.name} overlap: their peaks are {a.peak_Hz / b.peak_Hz:.2g} times "
                     "apart" for a, b in pairwise(peaks) if a.peak_Hz < _APART * b.peak_Hz)

    def text(self) -> str:
        """Every arc in a line."""
        arcs = [f"{arc.name}: {arc.resistance_ohm_cm2:.4g} Ω cm², {arc.capacity_F_per_cm2:.3g} F/cm², peak at "
                f"{arc.peak_Hz:.3g} Hz" for arc in self.arcs]
        head = f"{self.total_ohm_cm2:.4g} Ω cm² in {len(self.arcs)} arcs, {len(self.frequency_Hz)} frequencies"
        return "\n".join([head, *arcs, *(f"warning: {text}" for text in self.warnings)])

    def to_json(self) -> dict[str, Any]:
        return {"arcs": list(self.arcs), "frequency_Hz": self.frequency_Hz, "real_ohm_cm2": self.impedance_ohm_cm2.real,
                "minus_imaginary_ohm_cm2": -self.impedance_ohm_cm2.imag}


def spectrum(
    ceramic: Microstructure,
    thickness_cm: float,
    interface_ohm_cm2: float = 0.0,
    interface_uF_per_cm2: float = 1.0,
    grain_permittivity: float = 20.0,
    boundary_permittivity: float = 20.0,
    exponent: float = 0.9,
    points: int = 300,
) -> Spectrum:
    """The spectrum of a disc with an interface.

    Args:
        interface_ohm_cm2: both electrodes together; 0 for none. The permittivities are guesses of the order of
            magnitude of oxides: they place the arcs on the frequency axis, not their sizes.

    Raises:
        InputError: a number that makes no sense.
    """
    for name, value in (("interface capacity", interface_uF_per_cm2), ("grain permittivity", grain_permittivity),
                        ("boundary permittivity", boundary_permittivity)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"the {name} must be a positive number, not {value:g}")
    if not 0.3 <= exponent <= 1.0:
        raise InputError(f"the CPE exponent lies between 0.3 and 1, not {exponent:g}")
    if not (np.isfinite(interface_ohm_cm2) and interface_ohm_cm2 >= 0):
        raise InputError(f"the interface resistance must be zero or more, not {interface_ohm_cm2:g}")
    grain, boundary = ceramic.resistances_ohm_cm2(thickness_cm)
    d, t = ceramic.grain_size_um * CM_PER_UM, ceramic.layer_nm * CM_PER_NM
    arcs = [Arc("grain", grain, grain_permittivity * VACUUM_PERMITTIVITY_F_PER_CM / thickness_cm, exponent)]
    if boundary > 0:
        capacity = boundary_permittivity * VACUUM_PERMITTIVITY_F_PER_CM * (d + t) / (t * thickness_cm)
        arcs.append(Arc("boundary", boundary, capacity, exponent))
    if interface_ohm_cm2 > 0:
        arcs.append(Arc("interface", interface_ohm_cm2, interface_uF_per_cm2 * 1e-6, exponent))
    peaks = [arc.peak_Hz for arc in arcs]
    frequency = np.geomspace(max(peaks) * 1e3, min(peaks) * 1e-4, points)
    total = np.sum([arc.impedance_ohm_cm2(frequency) for arc in arcs], axis=0)
    return Spectrum(tuple(arcs), frequency, total)
