"""Ordered crystals, from ``structures/`` or from files: primitive cells, repeated until they are wide enough."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.sources.config import CrystalSource
from atomflow.distill.sources.stream import Draw, Start, Stream
from atomflow.errors import InputError


def draws(source: CrystalSource, stream: Stream) -> list[Draw]:
    fitting = list(_fitting(source))
    if not fitting:
        low, high = source.atoms
        raise InputError(f"of the crystals {', '.join(source.crystals[:3])}, ... none is ordered, of the elements asked"
                         f" for, and has {low} to {high} atoms when its primitive cell is doubled until it has {low}")
    return [partial(_drawn, source, stream, structure, number, copy)
            for number, structure in enumerate(fitting) for copy in range(source.per_crystal)]


def _drawn(
    source: CrystalSource, stream: Stream, structure: Any, number: int, copy: int
) -> tuple[Start, np.random.Generator]:
    system = f"crystal-{structure.composition.reduced_formula}"
    symbols = np.array([site.specie.symbol for site in structure])
    return Start(symbols, np.array(structure.cart_coords), np.array(structure.lattice.matrix), system, source.family,
                 stream.split(system), source.distortion), stream.generator(number, copy)


def _fitting(source: CrystalSource) -> Iterator[Any]:
    """The primitive cell, repeated along its shortest edge up to the fewest atoms, of every fitting crystal."""
    for structure in _named_structures(source.crystals):
        symbols = {element.symbol for element in structure.composition.elements}
        fits = structure.is_ordered and symbols <= set(source.elements)
        if not fits or (source.must_hold is not None and source.must_hold not in symbols):
            continue
        cell = structure.get_primitive_structure()
        while len(cell) < source.atoms[0]:
            repeats = [1, 1, 1]
            repeats[int(np.argmin(cell.lattice.abc))] = 2
            cell = cell * repeats
        if len(cell) <= source.atoms[1]:
            yield cell


def _named_structures(entries: tuple[str, ...]) -> Iterator[Any]:
    from pymatgen.core import Structure

    from atomflow import crystals

    for entry in entries:
        path = Path(entry)
        if entry in crystals.list():
            yield crystals.load(entry)
        elif path.is_dir() or path.is_file():
            for file in sorted(path.glob("*.cif")) if path.is_dir() else [path]:
                yield Structure.from_file(str(file))
        else:
            raise InputError(f"'{entry}' is neither a crystal of structures/ nor a file nor a folder")
