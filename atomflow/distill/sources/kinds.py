"""From any source to its jobs."""

from __future__ import annotations

from functools import partial
from typing import Any

from atomflow.distill.sources import dynamics, hops, relaxing, starts
from atomflow.distill.sources.config import GuidedSource, Source
from atomflow.distill.sources.stream import Job, Stream, as_drawn

_GUIDED: dict[str, Any] = {"dynamics": dynamics, "relaxing": relaxing, "hops": hops}


def jobs(source: Source, stream: Stream) -> list[Job]:
    """One job for every system of a source, none of them begun; a potential that it needs is loaded now, and once.

    Raises:
        InputError: a composition, crystal or potential that cannot be had.
    """
    if isinstance(source, GuidedSource):
        return list(_GUIDED[source.kind].jobs(source, stream))
    return [partial(as_drawn, draw) for draw in starts.draws(source, stream)]
