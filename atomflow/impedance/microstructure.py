"""From grain, boundary and film to a ceramic: brick-layer, Maxwell and Bruggeman models of one microstructure.

Cubic grains of edge d are separated by layers of thickness t. A layer is the boundary (δ_b, σ_b); a share c of it holds
a film (δ_f, σ_f) as well, in series with the boundary. Per area its conductance is

    G = c/(δ_b/σ_b + δ_f/σ_f) + (1 − c)/(δ_b/σ_b),   t = δ_b + c δ_f,   σ_layer = G t.

* series brick layer: 1/σ = [d/σ_g + 1/G]/(d + t): grain columns only. R_b and R_gb are its two terms.
* parallel brick layer: the same columns, f = (d/(d+t))² of the area, beside side walls of σ_layer
  (Verkerk, Middelhuis & Burggraaf, Solid State Ionics 6 (1982) 159; Maier, Ber. Bunsenges. 90 (1986) 26).
* Maxwell: coated spheres, grain fraction φ = (d/(d+t))³, layer as matrix (Maxwell 1873; the lower
  Hashin–Shtrikman bound where the layer conducts worse).
* Bruggeman: both phases alike, symmetric effective medium (Ann. Phys. 416 (1935) 636); layers that do not cover
  every grain.

Pores scale everything by 2p/(3 − p) (Maxwell) at relative density p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.paper import formulas
from atomflow.units import CM_PER_NM, CM_PER_UM


@dataclass(frozen=True)
class Layer:
    """A phase: conductivity at ``temperature_K`` of the microstructure, and its activation energy if known."""

    sigma_S_per_cm: float
    energy_eV: float | None = None

    def __post_init__(self) -> None:
        if self.energy_eV is not None and not math.isfinite(self.energy_eV):
            raise InputError(f"an activation energy is a number of eV, not {self.energy_eV:g}")

    def at(self, temperature_K: float, reference_K: float) -> Layer:
        """The layer at another temperature: ln σ is linear in 1/kT.

        Raises:
            InputError: the activation energy is not known.
        """
        if temperature_K == reference_K:
            return self
        if self.energy_eV is None:
            raise InputError("an activation energy is missing: give one for the grain and every layer, or for none")
        factor = formulas.activated(1.0, self.energy_eV, reference_K, temperature_K)
        return replace(self, sigma_S_per_cm=self.sigma_S_per_cm / factor)


@dataclass(frozen=True)
class Microstructure:
    """A ceramic of grains, boundaries and films.

    Attributes:
        grain, boundary, film: conductivities (no boundary or film: None, with thickness 0).
        grain_size_um, boundary_nm, film_nm: d, δ_b, δ_f. film_coverage: share of the boundaries that hold the film.
        relative_density: p, 1 without pores. temperature_K: at which the conductivities hold.
    """

    grain: Layer
    boundary: Layer | None = None
    film: Layer | None = None
    grain_size_um: float = 1.0
    boundary_nm: float = 0.0
    film_nm: float = 0.0
    film_coverage: float = 1.0
    relative_density: float = 1.0
    temperature_K: float = 298.15

    def __post_init__(self) -> None:
        _positive("grain conductivity", self.grain.sigma_S_per_cm)
        _positive("grain size", self.grain_size_um)
        _positive("temperature", self.temperature_K)
        layers = (("boundary", self.boundary, self.boundary_nm), ("film", self.film, self.film_nm))
        for name, layer, thickness in layers:
            if not (thickness >= 0 and math.isfinite(thickness)):
                raise InputError(f"the {name} thickness must be zero or more, not {thickness:g} nm")
            if (layer is None) != (thickness == 0):
                raise InputError(f"a {name} needs both a thickness and a conductivity")
            if layer is not None and not (layer.sigma_S_per_cm >= 0 and math.isfinite(layer.sigma_S_per_cm)):
                raise InputError(f"the {name} conductivity must be zero or more, not {layer.sigma_S_per_cm:g} S/cm")
        if not 0 < self.relative_density <= 1:
            raise InputError(f"the relative density lies between 0 and 1, not {self.relative_density:g}")
        if self.film is None and self.film_coverage != 1.0:
            raise InputError("a film coverage needs a film: its conductivity and thickness")
        if not 0 <= self.film_coverage <= 1:
            raise InputError(f"the film coverage lies between 0 and 1, not {self.film_coverage:g}")
        if self.layer_nm > 0 and self.conductance_S_per_cm2 == 0:
            raise InputError("the layers between the grains block: a continuous film of zinc borate without Na does "
                             "not conduct; give it a conductivity (Na uptake) or a coverage below 1")

    @property
    def layer_nm(self) -> float:
        """t, the mean thickness between two grains."""
        return self.boundary_nm + self.film_coverage * self.film_nm

    @property
    def conductance_S_per_cm2(self) -> float:
        """G of one layer; infinite without any."""
        boundary = _area_resistance(self.boundary_nm, self.boundary)
        covered = boundary + _area_resistance(self.film_nm, self.film)
        if self.film is None or self.film_coverage == 0:
            return math.inf if boundary == 0 else 1.0 / boundary
        if boundary == 0 and self.film_coverage < 1:
            return math.inf  # bare grain contacts without any resistance
        return self.film_coverage / covered + (1.0 - self.film_coverage) * (1.0 / boundary if boundary else 0.0)

    @property
    def layer_S_per_cm(self) -> float:
        """σ_layer across it; the grain's where there is no layer."""
        if self.layer_nm == 0 or math.isinf(self.conductance_S_per_cm2):
            return self.grain.sigma_S_per_cm
        return self.conductance_S_per_cm2 * self.layer_nm * CM_PER_NM

    @property
    def pore_factor(self) -> float:
        """2p/(3 − p)."""
        return 1.0 / formulas.maxwell_dense(1.0, self.relative_density)

    def at(self, temperature_K: float) -> Microstructure:
        """The same ceramic at another temperature."""
        _positive("temperature", temperature_K)

        def warm(layer: Layer | None) -> Layer | None:
            return None if layer is None else layer.at(temperature_K, self.temperature_K)

        return replace(self, grain=self.grain.at(temperature_K, self.temperature_K), boundary=warm(self.boundary),
                       film=warm(self.film), temperature_K=temperature_K)

    # --- resistances and conductivities -----------------------------------------------------------------------

    def resistances_ohm_cm2(self, thickness_cm: float) -> tuple[float, float]:
        """(R_b, R_gb) of a disc: the two terms of the series brick layer, with its pores."""
        _positive("thickness", thickness_cm)
        d, t = self.grain_size_um * CM_PER_UM, self.layer_nm * CM_PER_NM
        area = thickness_cm / (d + t) / self.pore_factor
        return area * d / self.grain.sigma_S_per_cm, area / self.conductance_S_per_cm2

    def conductivities_S_per_cm(self) -> dict[str, float]:
        """Total conductivity by each model, with pores."""
        grain, layer = self.grain.sigma_S_per_cm, self.layer_S_per_cm
        share = self.grain_size_um * CM_PER_UM / (self.grain_size_um * CM_PER_UM + self.layer_nm * CM_PER_NM)
        series = series_conductivity(grain, layer, share)
        models = {
            "series brick layer": series,
            "parallel brick layer": share**2 * series + (1.0 - share**2) * layer,
            "Maxwell": maxwell(layer, grain, share**3),
            "Bruggeman": bruggeman(grain, layer, share**3),
        }
        return {name: value * self.pore_factor for name, value in models.items()}

    def to_json(self) -> dict[str, Any]:
        return {**{name: value for name, value in self.__dict__.items() if not isinstance(value, Layer)},
                **{name: None if layer is None else dict(layer.__dict__)
                   for name, layer in (("grain", self.grain), ("boundary", self.boundary), ("film", self.film))}}


def series_conductivity(first: float, second: float, share: float) -> float:
    """Layers across the current; ``share`` is the thickness fraction of the first."""
    return 1.0 / (share / first + (1.0 - share) / second)


def maxwell(matrix: float, inclusion: float, fraction: float) -> float:
    """Spheres of volume ``fraction`` in a matrix (Maxwell 1873)."""
    excess = fraction * (inclusion - matrix)
    return matrix * (2 * matrix + inclusion + 2 * excess) / (2 * matrix + inclusion - excess)


def bruggeman(first: float, second: float, fraction: float) -> float:
    """Symmetric effective medium: φ(σ₁ − σ)/(σ₁ + 2σ) + (1 − φ)(σ₂ − σ)/(σ₂ + 2σ) = 0, its positive root."""
    b = (3.0 * fraction - 1.0) * first + (2.0 - 3.0 * fraction) * second
    return float((b + np.sqrt(b * b + 8.0 * first * second)) / 4.0)


def _area_resistance(thickness_nm: float, layer: Layer | None) -> float:
    """Ω cm² of one layer; infinite if it does not conduct."""
    if layer is None or thickness_nm == 0:
        return 0.0
    return thickness_nm * CM_PER_NM / layer.sigma_S_per_cm if layer.sigma_S_per_cm > 0 else math.inf


def _positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"the {name} must be a positive number, not {value:g}")
