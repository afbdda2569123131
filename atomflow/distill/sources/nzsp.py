"""Random decorations of NZSP: compositions and frameworks in turns, sites drawn anew for every system."""

from __future__ import annotations

from functools import partial

import numpy as np

from atomflow.distill import decorate
from atomflow.distill.sources.config import NzspSource
from atomflow.distill.sources.stream import Draw, Start, Stream


def draws(source: NzspSource, stream: Stream) -> list[Draw]:
    return [partial(_drawn, source, stream, number) for number in range(source.systems)]


def _drawn(source: NzspSource, stream: Stream, number: int) -> tuple[Start, np.random.Generator]:
    rng = stream.generator(number)
    framework = source.frameworks[number % len(source.frameworks)]
    silicon = source.silicon[number % len(source.silicon)]
    zinc = int(source.zinc_every > 0 and silicon <= 2 and number % source.zinc_every == source.zinc_every - 1)
    occupation = decorate.occupation(framework, silicon, zinc, rng)
    system = decorate.name_of(framework, occupation)
    split = stream.split(system, silicon in stream.held_out_silicon)
    return Start(*decorate.placed(framework, occupation), system, "nzsp", split, source.distortion), rng
