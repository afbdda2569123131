"""Coordination numbers, bond lengths and bond angles with stated cutoffs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.blocks import estimate
from atomflow.build.checks import COORDINATION
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.order.frames import Source
from atomflow.order.neighbours import Pairs, pairs
from atomflow.order.rdf import centre_mask, parse_pair
from atomflow.plain import Shown

#: Bonds to oxygen: pair → cutoff in Å. Si, P and Zr as in the checks of built cells; B–O between the shells at 1.5 and
#: 2.4; Zn–O at the end of the four-fold shell of zinc borates; Na–O at the first minimum in NZSP.
CUTOFFS_A: dict[str, float] = {
    "B-O": 1.9,
    "Zn-O": 2.5,
    "Na-O": 3.1,
    **{f"{element}-O": COORDINATION[element][1] for element in ("Si", "P", "Zr")},
}


@dataclass(frozen=True, repr=False)
class Shell(Shown):
    """What surrounds the atoms of one element.

    Attributes:
        pair, cutoff_A: partners counted as bonded.
        mean: coordination number. fractions: {n: share of the centres that have n partners}. three_or_four: share of
            the centres with three or four.
        length_A: mean bond length. lengths_A: {n: mean bond length of the centres with n partners}.
        angle_deg: mean partner–centre–partner angle.
        length_histogram, angle_histogram: {"edges": ..., "density": ...}.
        shortest_A: the shortest bond seen.
    """

    pair: str
    cutoff_A: float
    mean: Estimate
    fractions: dict[int, Estimate]
    three_or_four: Estimate
    length_A: Estimate
    lengths_A: dict[int, Estimate]
    angle_deg: Estimate
    length_histogram: dict[str, np.ndarray]
    angle_histogram: dict[str, np.ndarray]
    shortest_A: float | None

    def text(self) -> str:
        """Number, length and angle with their intervals."""
        return (f"{self.pair} within {self.cutoff_A:g} Å: {self.mean:.3g} neighbours, {self.length_A:.4g} Å, "
                f"{self.angle_deg:.4g}°")

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def cutoff_of(pair: str, cutoffs_A: Mapping[str, float] | None = None) -> float:
    """The stated cutoff of a pair, given or built in.

    Raises:
        InputError: neither; or not a positive length.
    """
    table = {**CUTOFFS_A, **(cutoffs_A or {})}
    if pair not in table:
        raise InputError(f"no bond length is known for {pair}: state it with --cutoff {pair}=2.5")
    if not table[pair] > 0:
        raise InputError(f"the cutoff of {pair} must be positive, not {table[pair]:g}")
    return table[pair]


def shell(
    sources: Sequence[Source], pair: str, cutoff_A: float, region: str | None = None, level: float = 0.95
) -> Shell:
    """Coordination, lengths and angles of ``pair`` (first element the centre), over frames and replicas."""
    per_source = [[_one_frame(found, n) for found, n in _found(source, pair, cutoff_A, region)] for source in sources]
    frames = [frame for replica in per_source for frame in replica]
    numbers = sorted({int(n) for frame in frames for n in np.unique(frame["numbers"])})

    def over(key: str) -> Estimate:
        return estimate([np.array([frame[key] for frame in replica]) for replica in per_source], level)

    def share(*n: int) -> Estimate:
        return estimate([np.array([np.isin(f["numbers"], n).mean() for f in replica]) for replica in per_source], level)

    def length(n: int) -> Estimate:
        return estimate([np.array([_mean(f["lengths"][f["owner_numbers"] == n]) for f in replica])
                         for replica in per_source], level)

    lengths = np.concatenate([frame["lengths"] for frame in frames])
    angles = np.concatenate([frame["angles"] for frame in frames])
    return Shell(pair, cutoff_A, over("mean"), {n: share(n) for n in numbers}, share(3, 4), over("length"),
                 {n: length(n) for n in numbers if n > 0}, over("angle"),
                 _histogram(lengths, np.arange(0.0, cutoff_A + 0.005, 0.01)),
                 _histogram(angles, np.arange(0.0, 180.5, 1.0)), float(lengths.min()) if len(lengths) else None)


def bridge_angles(
    sources: Sequence[Source], pair: str, cutoff_A: float, region: str | None = None, level: float = 0.95
) -> tuple[Estimate, dict[str, np.ndarray]]:
    """Centre–partner–centre angles, B–O–B for ``B-O``: their mean and histogram."""
    per_source = []
    for source in sources:
        frames = []
        for found, _ in _found(source, pair, cutoff_A, region):
            back = Pairs(found.second, found.first, -found.vector_A, found.distance_A)
            frames.append(_angles(back))
        per_source.append(frames)
    every = np.concatenate([angles for replica in per_source for angles in replica])
    mean = estimate([np.array([_mean(angles) for angles in replica]) for replica in per_source], level)
    return mean, _histogram(every, np.arange(0.0, 180.5, 1.0))


def _found(source: Source, pair: str, cutoff_A: float, region: str | None) -> Iterator[tuple[Pairs, np.ndarray]]:
    """For each frame the bonds, and the (n,) indices of the centres."""
    a, b = parse_pair(pair, set(source.symbols.tolist()))
    centres, partners = centre_mask(source, a, region), source.symbols == b
    for positions, lattice in source.frames():
        yield pairs(positions, lattice, centres, partners, cutoff_A), np.flatnonzero(centres)


def _one_frame(found: Pairs, centres: np.ndarray) -> dict[str, Any]:
    size = int(centres.max()) + 1
    counts = np.bincount(found.first, minlength=size)
    angles = _angles(found)
    return {"numbers": counts[centres], "owner_numbers": counts[found.first], "lengths": found.distance_A,
            "angles": angles, "mean": counts[centres].mean(), "length": _mean(found.distance_A),
            "angle": _mean(angles)}


def _angles(found: Pairs) -> np.ndarray:
    """(k,) angles in degrees between all pairs of bonds that share their first atom."""
    order = np.argsort(found.first, kind="stable")
    owner, unit = found.first[order], (found.vector_A / found.distance_A[:, None])[order]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(np.append(starts, len(owner)))
    angles = []
    for size in np.unique(lengths):
        if size < 2:
            continue
        rows = unit[starts[lengths == size][:, None] + np.arange(size)]
        i, j = np.triu_indices(size, 1)
        cosine = np.einsum("nkx,nkx->nk", rows[:, i], rows[:, j])
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).ravel())
    return np.concatenate(angles) if angles else np.zeros(0)


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    counts = np.histogram(values, edges)[0].astype(np.float64)
    total = counts.sum() * (edges[1] - edges[0])
    return {"edges": edges, "density": counts / total if total else counts}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
