"""Is this the glass? Each line of short-range order beside the literature and its uncertainty."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from atomflow.config import StrictModel, parse, read_yaml
from atomflow.errors import InputError, said
from atomflow.estimate import Estimate
from atomflow.order.frames import open_source
from atomflow.order.measure import OrderResult, measure
from atomflow.order.separation import Separation
from atomflow.paper.quantities import GLASS_DENSITY_G_PER_CM3
from atomflow.plain import Shown, table, to_jsonable
from atomflow.runs.chain import replicas_in

Verdict = Literal["pass", "fail", "cannot say"]
_FILE = Path(__file__).parent / "glass.yaml"
#: Fewer replicas than this accept nothing: quenched glasses differ from one another.
REPLICAS = 3
#: What builders call the atoms of a glass, and of a film between grains.
FILM = "glass"


class Target(StrictModel):
    """One line of ``glass.yaml``."""

    id: str
    quantity: str
    low: float | None = None
    high: float | None = None
    source: str
    measured: bool
    note: str = ""

    def interval(self) -> tuple[float, float]:
        """Where the literature puts it; the density's is the estimate stated beside the publication."""
        if self.low is None or self.high is None:
            return GLASS_DENSITY_G_PER_CM3[1], GLASS_DENSITY_G_PER_CM3[2]
        return self.low, self.high


@dataclass(frozen=True)
class Line:
    """One line of the acceptance; ``interval`` is what ours is held against."""

    target: Target
    ours: Estimate
    verdict: Verdict
    why: str
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {"id": self.target.id, "quantity": self.target.quantity, "ours": self.ours, "literature":
                {"low": low, "high": high, "measured": self.target.measured, "source": self.target.source},
                "verdict": self.verdict, "why": self.why, "note": self.target.note}


@dataclass(frozen=True, repr=False)
class Acceptance(Shown):
    """All lines, and whether the glass is accepted: no line fails or is open, over three replicas or more."""

    lines: tuple[Line, ...]
    n_replicas: int

    @property
    def accepted(self) -> bool:
        return self.n_replicas >= REPLICAS and all(line.verdict == "pass" for line in self.lines)

    @property
    def sentence(self) -> str:
        if self.accepted:
            return f"accepted: every line passes over {self.n_replicas} replicas"
        reasons = [f"{line.target.quantity}: {line.verdict}" for line in self.lines if line.verdict != "pass"]
        if self.n_replicas < REPLICAS:
            reasons.append(f"{self.n_replicas} replica{'s' if self.n_replicas > 1 else ''} of the {REPLICAS} asked for")
        return "not accepted: " + "; ".join(reasons)

    def text(self) -> str:
        """The sentence, and every line beside the literature."""
        return f"{self.sentence}\n{text(self.lines)}"

    def to_json(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "sentence": self.sentence, "n_replicas": self.n_replicas,
                "lines": list(self.lines)}


@cache
def targets() -> tuple[Target, ...]:
    """The lines of ``glass.yaml``."""
    lines = read_yaml(_FILE)
    return tuple(parse(Target, {"id": name, **data}, f"{_FILE.name}: {name}") for name, data in lines.items())


def accept(result: OrderResult) -> Acceptance:
    """Hold measured order against the literature.

    With a region (a film) the density cannot be judged: a film has no box of its own.

    Raises:
        InputError: the B–O and Zn–O shells were not measured.
    """
    if not hasattr(result, "shells"):
        raise InputError(f"accept judges what order.measure(...) found, not {said(result)}; accept_glass takes paths")
    missing = [pair for pair in ("B-O", "Zn-O") if pair not in result.shells]
    if missing:
        raise InputError(f"the glass is judged by B-O and Zn-O; not in it or not asked for: "
                         f"{', '.join(missing)}")
    boron, zinc = result.shells["B-O"], result.shells["Zn-O"]
    unknown = Estimate.unknown(boron.mean.level)
    none = Estimate(0.0, None, None) if boron.mean.low is None else Estimate(0.0, 0.0, 0.0)
    ours = {"density": result.density_g_per_cm3 if result.region is None else unknown,
            "b3_o": boron.lengths_A.get(3, unknown), "b4_o": boron.lengths_A.get(4, unknown), "zn_o": zinc.length_A,
            "zn_cn": zinc.mean, "n4": boron.fractions.get(4, none), "b_network": boron.three_or_four}
    lines = [judge(target, ours[target.id]) for target in targets() if target.id in ours]
    return Acceptance((*lines, _mixing(result.separation, unknown)), result.n_replicas)


def accept_glass(what: Any, region: str | None = None, **options: Any) -> Acceptance:
    """:func:`accept` of a cell, run, path, or several (replicas); options as of :func:`measure`.

    Args:
        region: whose atoms are judged; ``glass`` when not given and the cell has other regions beside it.
    """
    return accept(measure(what, pairs=("B-O", "Zn-O"), region=region or film_region(what), **options))


def film_region(what: Any) -> str | None:
    """``glass`` where that is one region among others, else None: then all atoms are the glass."""
    first = what[0] if isinstance(what, (list, tuple)) else what
    if isinstance(first, (str, os.PathLike)):
        first = replicas_in(Path(first))[0]
    regions = set(open_source(first, 1).regions.tolist())
    return FILM if FILM in regions and len(regions) > 1 else None


def judge(target: Target, ours: Estimate) -> Line:
    """Pass: the whole interval is inside the literature's. Fail: all of it outside. Otherwise nobody can say."""
    low, high = target.interval()

    def line(verdict: Verdict, why: str) -> Line:
        return Line(target, ours, verdict, why, (low, high))

    if ours.value is None:
        return line("cannot say", "a film has no box of its own" if target.id == "density" else
                    "there is none in the cell")
    if ours.low is None or ours.high is None:
        where = "inside" if low <= ours.value <= high else "outside"
        return line("cannot say", f"fewer than ten frames have no interval; the value itself is {where}")
    if target.id == "n4" and ours.high <= high:
        return line("pass", "below the ceiling; the value itself is not known in the literature")
    if low <= ours.low and ours.high <= high:
        return line("pass", "the interval lies inside the literature's")
    if ours.high < low or ours.low > high:
        return line("fail", "below" if ours.high < low else "above")
    return line("cannot say", "the interval straddles the literature's edge: more frames or replicas")


def _mixing(found: Separation | None, unknown: Estimate) -> Line:
    """Zn and B against labels dealt out at random; the interval that ours is held against is that of chance."""
    target = next(target for target in targets() if target.id == "mixing")
    if found is None:
        return Line(target, unknown, "cannot say", "too few Zn or B", target.interval())
    return Line(target, found.structure_factor, "fail" if found.seen else "pass", found.sentence,
                (0.0, found.chance[2]))


def text(lines: Sequence[Line | dict[str, Any]]) -> str:
    """The acceptance as a table for people; lines as they are, or as the JSON of a quench holds them."""
    rows = []
    for line in map(to_jsonable, lines):
        known, ours = line["literature"], Estimate.from_json(line["ours"])
        basis = "" if known["measured"] else " (chance)" if line["id"] == "mixing" else " (estimate)"
        rows.append([line["quantity"], f"{ours:.4g}", f"{known['low']:.4g} - {known['high']:.4g}{basis}",
                     line["verdict"], line["why"]])
    return table(rows, ["quantity", "here", "literature", "verdict", "why"])
