"""The model's numbers beside the publication's: resistances of the bare cell, σ(x), activation energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atomflow import paper
from atomflow.impedance.microstructure import Microstructure
from atomflow.paper import quantities as q
from atomflow.units import BOLTZMANN_EV_PER_K, CM_PER_NM, CM_PER_UM


@dataclass(frozen=True)
class Row:
    """One quantity: the publication's id and text, its number and ours in ``unit``."""

    id: str
    quantity: str
    printed: float
    ours: float | None
    unit: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None else self.ours / self.printed

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "ratio": self.ratio}


def default_thickness_cm() -> float:
    """That of the publication's bare disc, its unit mended (INC-02)."""
    return q.thickness_cm(paper.load(), 0.0)


def beside_paper(ceramic: Microstructure, thickness_cm: float, interface_ohm_cm2: float = 0.0) -> list[Row]:
    """All rows; energies only where the microstructure knows its own."""
    publication = paper.load()
    grain, boundary = ceramic.resistances_ohm_cm2(thickness_cm)
    total = thickness_cm / (grain + boundary) if grain + boundary else None
    rows = [_row("sym.Rb_x0", grain, "ohm cm2"), _row("sym.Rgb_x0", boundary, "ohm cm2"),
            _row("sym.Rint_x0", interface_ohm_cm2 or None, "ohm cm2", "given, not computed")]
    for x in q.X_GRID:
        rows.append(Row(q.name_x("sig.t", x), f"total conductivity, x = {x:g}",
                        q.total_conductivity_S_per_cm(publication, x), total, "S/cm", "series brick layer"))
    energy = apparent_energy_eV(ceramic, thickness_cm)
    note = "of ln R, 25-60 °C; two readings, see INC-05"
    rows += [_row(name, energy, "eV", note) for name in ("fc.Ea1", "fc.Ea2", "fc.Ea3")]
    return rows


def _row(name: str, ours: float | None, unit: str, note: str = "") -> Row:
    value = paper.load()[name]
    return Row(name, value.quantity, value.in_unit(unit), ours, unit, note)


def apparent_energy_eV(ceramic: Microstructure, thickness_cm: float) -> float | None:
    """Slope of ln(R_b + R_gb) over the publication's range; None where a layer's energy is not known."""
    import math

    layers = [layer for layer in (ceramic.grain, ceramic.boundary, ceramic.film) if layer is not None]
    if any(layer.energy_eV is None for layer in layers):
        return None
    ends_K = q.impedance_range_K(paper.load())
    cold, warm = (sum(ceramic.at(kelvin).resistances_ohm_cm2(thickness_cm)) for kelvin in ends_K)
    return math.log(cold / warm) * BOLTZMANN_EV_PER_K / (1.0 / ends_K[0] - 1.0 / ends_K[1])


def needed_boundary_S_per_cm(ceramic: Microstructure, thickness_cm: float) -> float | None:
    """The conductivity across the layers that would give the printed R_gb of the bare cell; None without layers."""
    if ceramic.layer_nm == 0:
        return None
    d, t = ceramic.grain_size_um * CM_PER_UM, ceramic.layer_nm * CM_PER_NM
    printed = paper.load().number("sym.Rgb_x0", "ohm cm2")
    return thickness_cm * t / ((d + t) * printed * ceramic.pore_factor)
