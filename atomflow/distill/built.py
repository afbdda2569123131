"""Systems from the package's own builders: glass, boundaries, sealed boundaries and metal contacts, each drawn anew.

Every system draws one value of each option from the list in the configuration. What the builder refuses (a plane that
cannot be cut, a film that does not fit, a cell larger than ``atoms_max``) is drawn again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill.config import BuiltSource
from atomflow.errors import InputError

#: So many draws for every system wanted, before a source is given up.
DRAWS_PER_SYSTEM = 20
Draw = dict[str, Any]


def built(source: BuiltSource, rng: np.random.Generator) -> tuple[Cell, Draw]:
    """One cell, and the options drawn for it (those of the cell that it stands on as ``ground.<option>``).

    Raises:
        InputError: nothing could be built; with the last reason.
    """
    reason = "nothing was drawn"
    for _ in range(DRAWS_PER_SYSTEM):
        try:
            cell, draw = _build(source, rng)
        except InputError as error:
            reason = str(error)
            continue
        if len(cell) <= source.atoms_max:
            return cell, draw
        reason = f"{len(cell)} atoms, more than {source.atoms_max}"
    raise InputError(f"sampling {source.builder}: no cell in {DRAWS_PER_SYSTEM} draws; the last one: {reason}")


def name_of(source: BuiltSource, draw: Draw, otherwise: str) -> str:
    """The system: builder and the drawn values of ``system_by``; ``otherwise`` where that names no option."""
    values = [draw[key] for key in source.system_by if key in draw]
    return "-".join([source.builder, *(_word(value) for value in values)]) if values else otherwise


def held_out(source: BuiltSource, draw: Draw) -> bool:
    """Whether a drawn value is one of those that the configuration holds out for the test."""
    return any(draw.get(key) in values for key, values in source.held_out.items())


def _build(source: BuiltSource, rng: np.random.Generator) -> tuple[Cell, Draw]:
    draw = {key: values[int(rng.integers(len(values)))] for key, values in source.options.items()}
    options = dict(draw)
    if source.builder in ("glass", "sealed", "nzsp"):
        options["seed"] = int(rng.integers(2**31))
    if source.ground is None:
        return _builder(source.builder)(**options), draw
    below, lower = _build(source.ground, rng)
    first = "boundary" if source.builder == "sealed" else "on"
    named = {**draw, **{f"ground.{key}": value for key, value in lower.items()}}
    return _builder(source.builder)(**{first: below}, **options), named


def _word(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _builder(name: str) -> Any:
    if name == "glass":
        from atomflow.build.glass import build_glass

        return build_glass
    if name == "boundary":
        from atomflow.build.boundary import build_boundary

        return build_boundary
    if name == "sealed":
        from atomflow.build.sealed import build_sealed

        return build_sealed
    if name == "contact":
        from atomflow.build.contact import build_contact

        return build_contact
    from atomflow.build.nzsp import build_nzsp

    return build_nzsp
