"""Structures of a campaign file: from a builder or a file, and the quench that some go through before dynamics.

    gb:     {builder: boundary, plane: [1, 1, 0], grain_thickness: 12}
    sealed: {builder: sealed, boundary: {builder: boundary, plane: [1, 1, 0]}, film: 8, quench: {rate_K_per_ps: 50}}
    mine:   {file: mine.extxyz}

The keys are the parameters of ``atomflow build``. What a builder starts from (``boundary`` and ``glass`` of a sealed
boundary, ``on`` of a contact, ``crystal`` of a slab or boundary) is a structure itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomflow.cell import Cell, read_cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError, nearest
from atomflow.quench.config import QuenchConfig


class CellFile(StrictModel):
    """A structure read from a file or a finished quench (relative to the campaign file)."""

    file: str


@dataclass(frozen=True)
class Builder:
    """One builder: where it lives, the names of its request and function, and what it starts from.

    Attributes:
        parts: key → whether it must be given; each is a structure.
    """

    module: str
    request_name: str
    function_name: str
    parts: dict[str, bool] = field(default_factory=dict)

    @property
    def request(self) -> type[StrictModel]:
        found: type[StrictModel] = getattr(importlib.import_module(self.module), self.request_name)
        return found

    @property
    def build(self) -> Callable[..., Cell]:
        found: Callable[..., Cell] = getattr(importlib.import_module(self.module), self.function_name)
        return found


BUILDERS = {
    "nzsp": Builder("atomflow.build.nzsp", "NZSPRequest", "build_nzsp"),
    "phase": Builder("atomflow.build.phases", "PhaseRequest", "build_phase"),
    "glass": Builder("atomflow.build.glass", "GlassRequest", "build_glass"),
    "slab": Builder("atomflow.build.surface", "SlabRequest", "build_slab", {"crystal": False}),
    "boundary": Builder("atomflow.build.boundary", "BoundaryRequest", "build_boundary", {"crystal": False}),
    "sealed": Builder("atomflow.build.sealed", "SealedRequest", "build_sealed", {"boundary": True, "glass": False}),
    "contact": Builder("atomflow.build.contact", "ContactRequest", "build_contact", {"on": False}),
}


def check_structure(given: Any, where: str, part: bool = False) -> None:
    """Check the keys of a structure, and of those it is made from; nothing is built or read.

    Args:
        part: it is what another structure is made from.

    Raises:
        InputError: one line that begins with ``where``.
    """
    if not isinstance(given, dict) or ("builder" in given) == ("file" in given):
        raise InputError(f"{where}: give either builder: {', '.join(BUILDERS)} (and its parameters) or file: PATH")
    keys = dict(given)
    quench = keys.pop("quench", None)
    if quench is not None and part:
        raise InputError(f"{where}.quench: what a structure is made from is not quenched here; quench it first "
                         "and name its folder as file")  # fmt: skip
    if quench is not None:
        parse(QuenchConfig, quench, f"{where}.quench")
    if "file" in keys:
        parse(CellFile, keys, where)
        return
    builder = _builder(keys.pop("builder"), where)
    for key, needed in builder.parts.items():
        if key in keys:
            check_structure(keys.pop(key), f"{where}.{key}", part=True)
        elif needed:
            raise InputError(f"{where}: the key '{key}' is missing: a structure, by builder or file")
    parse(builder.request, keys, where)


def build_structure(given: dict[str, Any], folder: str | Path, where: str) -> Cell:
    """The cell of a checked structure, before any quench or relaxation; files are relative to ``folder``.

    Raises:
        InputError: one line that begins with ``where``.
    """
    keys = {key: value for key, value in given.items() if key != "quench"}
    if "file" in keys:
        try:
            return read_cell(Path(folder, str(keys["file"])).expanduser())
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    builder = _builder(keys.pop("builder"), where)
    made = {key: build_structure(keys.pop(key), folder, f"{where}.{key}") for key in builder.parts if key in keys}
    request = parse(builder.request, keys, where)
    try:
        return builder.build(**made, **request.model_dump())
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def quench_of(given: dict[str, Any]) -> QuenchConfig | None:
    """How the structure is melted and quenched before dynamics; None where it is not."""
    return parse(QuenchConfig, given["quench"], "quench") if given.get("quench") is not None else None


def _builder(name: Any, where: str) -> Builder:
    if not isinstance(name, str) or name not in BUILDERS:
        hint = nearest(str(name), set(BUILDERS)) or f"; those there are: {', '.join(BUILDERS)}"
        raise InputError(f"{where}: there is no builder '{name}'{hint}")
    return BUILDERS[name]
