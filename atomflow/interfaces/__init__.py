"""Energies of interfaces: translations searched, boundary and surface energies, work of adhesion, beside DFT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atomflow.interfaces.comparison import Comparison
    from atomflow.interfaces.dft import compare_dft
    from atomflow.interfaces.energy import InterfaceEnergy, boundary_energy, surface_energy
    from atomflow.interfaces.separation import Adhesion, adhesion
    from atomflow.interfaces.translation import SearchConfig, SearchResult, search

_HOMES = {
    "Adhesion": "separation", "adhesion": "separation", "Comparison": "comparison", "compare_dft": "dft",
    "InterfaceEnergy": "energy", "boundary_energy": "energy", "surface_energy": "energy",
    "SearchConfig": "translation", "SearchResult": "translation", "search": "translation",
}  # fmt: skip
__all__ = [
    "Adhesion", "Comparison", "InterfaceEnergy", "SearchConfig", "SearchResult", "adhesion", "boundary_energy",
    "compare_dft", "search", "surface_energy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a part only when it is asked for: most of them need torch."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'atomflow.interfaces' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"atomflow.interfaces.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
