"""Did a crystal stay what it was? Volume, space group and oxygen coordination before and after relaxing."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.cell import Cell

#: A change of volume beyond this share is named.
MAX_VOLUME_CHANGE = 0.10
#: Mean number of oxygen neighbours that a cation may gain or lose.
MAX_COORDINATION_CHANGE = 0.25
#: Oxygen this near is a neighbour, in Å: between the first and the second shell of the oxides here.
_NEIGHBOUR_A = {"B": 1.9, "Si": 2.1, "P": 2.0, "Zn": 2.5, "Zr": 2.8}
_SYMPREC_A = 0.1


def space_group(cell: Cell) -> str:
    """Symbol and number, at a tolerance of 0.1 Å."""
    import spglib

    crystal: Any = (cell.lattice_A, cell.fractional, cell.numbers)
    found: Any = spglib.get_spacegroup(crystal, symprec=_SYMPREC_A)
    return str(found or "unknown")


def coordination(cell: Cell) -> dict[str, float]:
    """Mean number of oxygen neighbours of each cation that has any."""
    from ase.neighborlist import neighbor_list

    symbols = cell.symbols
    first, second, distance = neighbor_list("ijd", cell.to_ase(), max(_NEIGHBOUR_A.values()), self_interaction=False)
    result = {}
    for element in sorted(set(symbols.tolist()) & set(_NEIGHBOUR_A)):
        bonds = (symbols[first] == element) & (symbols[second] == "O") & (distance < _NEIGHBOUR_A[element])
        if bonds.any():
            result[element] = float(bonds.sum() / np.count_nonzero(symbols == element))
    return result


def changes(before: Cell, after: Cell) -> list[str]:
    """What became of the structure, one clause each; empty when it is what it was."""
    found = []
    grown = after.volume_A3 / before.volume_A3 - 1.0
    if abs(grown) > MAX_VOLUME_CHANGE:
        found.append(f"volume {100 * grown:+.0f} %")
    one, other = space_group(before), space_group(after)
    if one != other:
        found.append(f"space group {one} → {other}")
    old, new = coordination(before), coordination(after)
    for element in sorted(set(old) | set(new)):
        was, is_ = old.get(element, 0.0), new.get(element, 0.0)
        if abs(is_ - was) > MAX_COORDINATION_CHANGE:
            found.append(f"{element} has {is_:.1f} O neighbours, had {was:.1f}")
    return found
