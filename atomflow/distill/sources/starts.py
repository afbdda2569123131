"""Sources that a potential need not move: they give frames themselves, or starts for those that it moves."""

from __future__ import annotations

from typing import Any

from atomflow.distill.sources import built, crystals, nzsp, packings
from atomflow.distill.sources.config import StartSource
from atomflow.distill.sources.stream import Draw, Stream

_KINDS: dict[str, Any] = {"nzsp": nzsp, "crystals": crystals, "packings": packings, "built": built}


def draws(source: StartSource, stream: Stream) -> list[Draw]:
    """One draw for every system of a source, none of them made yet.

    Raises:
        InputError: a crystal or an oxide that is not known.
    """
    return list(_KINDS[source.kind].draws(source, stream))
