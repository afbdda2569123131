"""A finished hop in its folder: the same question is answered from there, so that another campaign beside it costs
nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.lattice.hops import HopResult, check_temperatures
from atomflow.potentials import Potential


def question(cell: Cell, potential: Potential, settings: dict[str, Any]) -> dict[str, Any]:
    """What decides the band: the cell, the potential, and the settings of :func:`~atomflow.lattice.hops.hop`."""
    identity = potential.identity
    return {"cell_sha256": cell.sha256, "potential_sha256": identity.sha256, "dtype": identity.dtype, **settings}


def kept(folder: str | Path, asked: dict[str, Any], temperatures_K: Sequence[float]) -> HopResult | None:
    """The hop in the folder, if it answers the same question; its images stay in ``path.extxyz``.

    Raises:
        InputError: the folder holds another hop, or a file that cannot be read.
    """
    path = Path(folder) / "hop.json"
    if not path.is_file():
        return None
    check_temperatures(temperatures_K)
    try:
        data = json.loads(path.read_text())
        known = data["asked"]
        different = sorted(name for name in {*known, *asked} if known.get(name) != asked.get(name))
        if not different:
            return HopResult.from_json(data, temperatures_K)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the hop.json of this version ({error}); name another folder") from None
    raise InputError(f"{folder} holds another hop ({', '.join(different)} differ); name another folder")
