"""What may take part: named materials, and the crystals of ``structures/`` that compete with them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from atomflow import crystals
from atomflow.errors import InputError, nearest, said

#: Elements for which ``structures/`` holds the competing crystals.
ELEMENTS = ("Na", "Zr", "Si", "P", "O", "B", "Zn")
#: name → formula. ZBO is the glass of the publication, (ZnO)₂(B₂O₃)₃: no crystal has this composition.
MATERIALS = {"NZSP": "Na3Zr2Si2PO12", "ZBO": "Zn2B6O11"}
#: The pairs of the publication's interfaces.
PAIRS = (("Na", "NZSP"), ("Na", "ZBO"), ("NZSP", "ZBO"))
#: Left out: other cells and sodium orders of monoclinic NZSP, which relax to the first one or lie above it.
_LEFT_OUT = {"NZSP_C2c_ordered_DFTcoords_PDF84-1200cell", "NZSP_C2c_ordered_Na1Na3_HongCoords_PDF84-1200cell",
             "NZSP_C2c_ordered_Na2Na3_HongCoords_PDF84-1200cell"}


def formula_of(name: str) -> str:
    """Formula of a material by its name, or the formula itself.

    Raises:
        InputError: not a formula, or one with an element that no competing crystal is there for.
    """
    from pymatgen.core import Composition, Element

    if name in MATERIALS:
        return MATERIALS[name]
    try:
        symbols = [str(element) for element in Composition(name).elements]
    except (ValueError, KeyError):
        symbols = []
    if not symbols or not all(Element.is_valid_symbol(symbol) for symbol in symbols):
        hint = nearest(name, set(MATERIALS)) or f"; known names: {', '.join(MATERIALS)}"
        raise InputError(f"'{name}' is neither a material nor a chemical formula{hint}")
    strange = [symbol for symbol in symbols if symbol not in ELEMENTS]
    if strange:
        raise InputError(f"{name}: there are no competing crystals with {', '.join(strange)}, only with "
                         f"{', '.join(ELEMENTS)}")
    return name


def check_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse an unknown material, or one with itself."""
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise InputError(f"pairs are two materials each, like [('Na', 'NZSP')], not {said(pair)}")
        one, other = pair
        if formula_of(one) == formula_of(other):
            raise InputError(f"{one} with {other}: give two different materials")


def elements_of(formulas: list[str]) -> tuple[str, ...]:
    """Elements of the formulas with sodium and oxygen, in the order of :data:`ELEMENTS`."""
    from pymatgen.core import Composition

    present = {element.symbol for formula in formulas for element in Composition(formula).elements} | {"Na", "O"}
    return tuple(element for element in ELEMENTS if element in present)


def competing(elements: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the ordered crystals that hold nothing but these elements, in the order of the index."""
    chosen = []
    for name in crystals.list():
        facts = crystals.facts(name)
        inside = {re.sub(r"[\d.]+", "", part) for part in facts.formula.split()}
        if facts.ordered and name not in _LEFT_OUT and inside <= set(elements):
            chosen.append(name)
    return tuple(chosen)
