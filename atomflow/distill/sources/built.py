"""Systems from the package's own builders: glass, boundaries, sealed boundaries and metal contacts, each drawn anew.

Every system draws one value of each option from the list in the configuration. What the builder refuses (a plane that
cannot be cut, a film that does not fit, a cell larger than ``atoms_max``) is drawn again.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill.sources.config import BuiltSource
from atomflow.distill.sources.stream import Draw, Start, Stream
from atomflow.errors import InputError

#: So many draws for every system wanted, before a source is given up.
DRAWS_PER_SYSTEM = 20
#: the values that were drawn, by the names of the options
Options = dict[str, Any]


def draws(source: BuiltSource, stream: Stream) -> list[Draw]:
    return [partial(_drawn, source, stream, number) for number in range(source.systems)]


def _drawn(source: BuiltSource, stream: Stream, number: int) -> tuple[Start, np.random.Generator]:
    rng = stream.generator(number)
    cell, drawn = _built(source, rng)
    system = _name_of(source, drawn, stream.system(source.builder, number))
    return Start(cell.symbols, cell.positions_A, cell.lattice_A, system, source.family,
                 stream.split(system, _held_out(source, drawn)), source.distortion, "built"), rng


def _built(source: BuiltSource, rng: np.random.Generator) -> tuple[Cell, Options]:
    """One cell, and the options drawn for it (those of the cell that it stands on as ``ground.<option>``).

    Raises:
        InputError: nothing could be built; with the last reason.
    """
    reason = "nothing was drawn"
    for _ in range(DRAWS_PER_SYSTEM):
        try:
            cell, drawn = _build(source, rng)
        except InputError as error:
            reason = str(error)
            continue
        if len(cell) <= source.atoms_max:
            return cell, drawn
        reason = f"{len(cell)} atoms, more than {source.atoms_max}"
    raise InputError(f"sampling {source.builder}: no cell in {DRAWS_PER_SYSTEM} draws; the last one: {reason}")


def _name_of(source: BuiltSource, drawn: Options, otherwise: str) -> str:
    """The system: builder and the drawn values of ``system_by``; ``otherwise`` where that names no option."""
    values = [drawn[key] for key in source.system_by if key in drawn]
    return "-".join([source.builder, *(_word(value) for value in values)]) if values else otherwise


def _held_out(source: BuiltSource, drawn: Options) -> bool:
    """Whether a drawn value is one of those that the configuration holds out for the test."""
    return any(drawn.get(key) in values for key, values in source.held_out.items())


def _build(source: BuiltSource, rng: np.random.Generator) -> tuple[Cell, Options]:
    drawn = {key: values[int(rng.integers(len(values)))] for key, values in source.options.items()}
    options = dict(drawn)
    if source.builder in ("glass", "sealed", "nzsp"):
        options["seed"] = int(rng.integers(2**31))
    if source.ground is None:
        return _builder(source.builder)(**options), drawn
    below, lower = _build(source.ground, rng)
    first = "boundary" if source.builder == "sealed" else "on"
    named = {**drawn, **{f"ground.{key}": value for key, value in lower.items()}}
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
