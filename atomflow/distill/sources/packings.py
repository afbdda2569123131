"""Random packings of whole oxide units: liquids before any relaxation, every pair of elements among them."""

from __future__ import annotations

from functools import partial

import numpy as np

from atomflow.distill import distort
from atomflow.distill.sources.config import PackingSource
from atomflow.distill.sources.stream import Draw, Start, Stream
from atomflow.errors import InputError

OXIDE_UNITS = {
    "Na2O": ("Na", "Na", "O"), "ZrO2": ("Zr", "O", "O"), "SiO2": ("Si", "O", "O"), "ZnO": ("Zn", "O"),
    "P2O5": ("P",) * 2 + ("O",) * 5, "B2O3": ("B",) * 2 + ("O",) * 3,
}


def draws(source: PackingSource, stream: Stream) -> list[Draw]:
    unknown = set(source.units) - set(OXIDE_UNITS)
    if unknown:
        raise InputError(f"unknown oxide unit {sorted(unknown)[0]}; known: {', '.join(OXIDE_UNITS)}")
    return [partial(_drawn, source, stream, number) for number in range(source.systems)]


def _drawn(source: PackingSource, stream: Stream, number: int) -> tuple[Start, np.random.Generator]:
    rng = stream.generator(number)
    counts = {unit: int(rng.integers(low, high + 1)) for unit, (low, high) in source.units.items()}
    symbols = np.array([s for unit, count in counts.items() for _ in range(count) for s in OXIDE_UNITS[unit]])
    if len(symbols) > source.atoms_max:
        units = [unit for unit, count in counts.items() for _ in range(count)]
        symbols = _whole_units(rng.permutation(units), source.atoms_max)
    packed = distort.packed(symbols, rng.uniform(*source.density_g_per_cm3), rng, rng.uniform(*source.floor))
    system = stream.system("packing", number)
    return Start(symbols, *packed, system, source.family, stream.split(system), None), rng


def _whole_units(units: np.ndarray, atoms_max: int) -> np.ndarray:
    """As many whole oxide units, in the given order, as fit."""
    symbols: list[str] = []
    for unit in units:
        if len(symbols) + len(OXIDE_UNITS[unit]) <= atoms_max:
            symbols.extend(OXIDE_UNITS[unit])
    return np.array(symbols)
