"""The translation between two grains that has the lowest energy, found with a potential, from coarse to fine.

1. Scan: every translation on a grid in the plane, at a few gaps, as it is.
2. Short: the best of the scan, spread over the plane, relaxed for a few steps with the normal free.
3. Full: the best of those, relaxed to the end. The lowest is the answer.

Both boundaries of a periodic cell move together where symmetry makes them the same; elsewhere one is searched, then the
other. Of translations that are copies of each other by symmetry one is relaxed. Every result is written down as it
comes (:mod:`atomflow.interfaces.journal`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from atomflow.build.checks import check_cell
from atomflow.cell import Cell, check_cell_given
from atomflow.config import StrictModel, check_config_given
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.interfaces.journal import Journal
from atomflow.interfaces.relaxing import Batch, Say, relax_many
from atomflow.interfaces.sides import Sides, sides
from atomflow.plain import Shown, named, table
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_PER_A2_IN_J_PER_M2

#: Steps of a full relaxation between two copies of it in the folder.
SAVE_EVERY = 10
#: Translations with the same gap whose energies are nearer than this are copies of each other by symmetry, eV.
SAME_EV = 2e-3


class SearchConfig(StrictModel):
    """How finely to search.

    ``grid_A``: distance of translations. ``extra_gaps_A``: added to the least gap of each in the scan. ``shortlist``:
    how many are relaxed for ``short_steps``; ``apart_A``: their distance from each other. ``finalists``: how many are
    relaxed until forces are below ``fmax_eV_per_A`` or for ``max_steps``.
    """

    grid_A: float = Field(1.0, gt=0.05, le=5)
    extra_gaps_A: tuple[float, ...] = Field((0.0, 0.4), min_length=1)
    shortlist: int = Field(8, ge=1, le=500)
    apart_A: float = Field(1.2, ge=0)
    short_steps: int = Field(12, ge=1)
    finalists: int = Field(3, ge=1, le=100)
    fmax_eV_per_A: float = Field(0.03, gt=0)
    max_steps: int = Field(250, ge=1)


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(Shown):
    """What a search found.

    Attributes:
        cell: the lowest, relaxed. built: the same before relaxing. energy_eV: of ``cell``.
        finalists: the fully relaxed ones, lowest first: energy_eV, translations_A, gaps_A, fmax, converged, problems.
        n_scanned, n_short: how many were evaluated, and relaxed for a few steps.
        alike: whether both boundaries are one by symmetry, and moved together.
        seconds: spent in this call.
    """

    cell: Cell
    built: Cell
    energy_eV: float
    finalists: tuple[dict[str, Any], ...]
    n_scanned: int
    n_short: int
    alike: bool
    n_boundaries: int
    area_A2: float
    potential: dict[str, Any]
    seconds: float

    def text(self) -> str:
        """For people, as ``atomflow interface search`` prints it."""
        alike = ("both boundaries alike, moved together" if self.alike else
                 f"{self.n_boundaries} boundaries on their own")  # fmt: skip
        lines = [f"lowest {self.energy_eV:.3f} eV in {self.cell.formula} with {named(self.potential)}: "
                 f"{self.n_scanned} translations and gaps scanned, {self.n_short} relaxed a little, "
                 f"{len(self.finalists)} to the end; {alike}"]
        lowest, per = self.finalists[0]["energy_eV"], self.n_boundaries * self.area_A2
        rows = [[" ".join(f"{x:.2f},{y:.2f}" for x, y in one["translations_A"]), f"{one['energy_eV']:.3f}",
                 f"{(one['energy_eV'] - lowest) / per * EV_PER_A2_IN_J_PER_M2:.3f}",
                 "yes" if one["converged"] else f"no, {one['fmax_eV_per_A']:.3f} eV/Å left",
                 "; ".join(one["problems"]) or "-"] for one in self.finalists]  # fmt: skip
        header = ["translation/Å", "energy/eV", "above lowest, J/m²", "converged", "problems"]
        return "\n".join([*lines, table(rows, header)])

    def to_json(self) -> dict[str, Any]:
        flat = {name: value for name, value in self.__dict__.items() if name not in ("cell", "built")}
        return {**flat, "cell": self.cell.summary()}


def search(
    cell: Cell,
    potential: Potential,
    folder: str | Path,
    config: SearchConfig | None = None,
    say: Say | None = None,
    stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search the translations of grain b against grain a; called again with the same folder it goes on.

    Args:
        cell: a boundary of :func:`atomflow.build.boundary.build_boundary`, as built or relaxed.
        folder: for the journal, the candidates, ``best.extxyz`` and ``best-built.extxyz``.
        stop: asked between evaluations; True ends the search cleanly (:class:`RunStopped`).

    Raises:
        InputError: no boundary, one of kind shift, or a folder that holds another search. RunFailed: no finalist is
        sound.
    """
    check_cell_given(cell)
    check_potential_given(potential)
    if config is not None:
        check_config_given(config, SearchConfig)
    config, started = config or SearchConfig.model_validate({}), time.monotonic()
    taken = sides(cell)
    if taken.facts.get("parameters", {}).get("kind") == "shift":
        raise InputError("a boundary of kind shift is what its translation makes it: searching would find the crystal")
    potential.check_elements(cell.numbers)
    identity = {"cell": cell.sha256, "potential": potential.identity.sha256, "settings": config.model_dump()}
    work = _Work(taken, potential, Journal(folder, identity), config, say or (lambda text: None), stop)
    shifts = grid(taken.in_plane_A, config.grid_A)
    gaps = taken.gaps_at(0, shifts)
    turn = taken.equivalent(shifts, gaps)
    starts = work.starts(shifts, gaps, turn)
    finalists = [work.full(k, start) for k, start in enumerate(starts)]
    finalists.sort(key=lambda one: (bool(one[1]["problems"]), one[1]["energy_eV"]))
    best, facts = finalists[0]
    if facts["problems"]:
        raise RunFailed(f"no candidate is sound after relaxing: {facts['problems'][0]}")
    built = taken.joined(np.array(facts["translations_A"]), facts["gaps_A"])
    found = {"builder": "interface search", "potential": potential.identity.name,
             "potential_sha256": potential.identity.sha256, "relaxed": {"cell_too": "normal only", **facts},
             "boundary": built.provenance}  # fmt: skip
    best = replace(best, provenance=found)
    work.journal.put_cell("../best", best)
    work.journal.put_cell("../best-built", built)
    return SearchResult(
        best, built, facts["energy_eV"], tuple(one[1] for one in finalists), work.n_scanned, work.n_short,
        turn is not None, taken.n_boundaries, taken.area_A2, potential.identity.model_dump(mode="json"),
        time.monotonic() - started,
    )  # fmt: skip


def grid(in_plane_A: np.ndarray, step_A: float) -> np.ndarray:
    """(S, 2) translations over the plane's cell, about ``step_A`` apart."""
    counts = np.maximum(1, np.ceil(np.linalg.norm(in_plane_A, axis=1) / step_A - 1e-9)).astype(int)
    first, second = np.meshgrid(np.arange(counts[0]) / counts[0], np.arange(counts[1]) / counts[1], indexing="ij")
    return np.asarray(np.stack([first.ravel(), second.ravel()], axis=1) @ in_plane_A)


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a relaxation begins: translations (k, 2), gaps (k,), and a guess of its energy."""

    translations_A: np.ndarray
    gaps_A: np.ndarray
    energy_eV: float


class _Work:
    """The three stages, each result remembered in the journal."""

    def __init__(
        self, taken: Sides, potential: Potential, journal: Journal, config: SearchConfig, say: Say,
        stop: Callable[[], bool] | None,
    ) -> None:  # fmt: skip
        self.taken, self.potential, self.journal, self.config, self.say = taken, potential, journal, config, say
        self.stop = stop or (lambda: False)
        self.batch = Batch(potential)
        self.n_scanned = self.n_short = 0

    def starts(self, shifts_A: np.ndarray, gaps_A: np.ndarray, turn: np.ndarray | None) -> list[_Start]:
        """Scan and short stage of every boundary that is its own; the best combinations for the full stage."""
        base = _Start(self.taken.translations_A, self.taken.gaps_A, 0.0)
        if self.taken.n_boundaries == 1 or turn is not None:
            return self._short(0, self._scan(0, base, shifts_A, gaps_A, turn))[: self.config.finalists]
        first = self._short(0, self._scan(0, base, shifts_A, gaps_A, None))
        second = self._short(1, self._scan(1, first[0], shifts_A, self.taken.gaps_at(1, shifts_A), None))
        both = [_Start(np.array([a.translations_A[0], b.translations_A[1]]), np.array([a.gaps_A[0], b.gaps_A[1]]),
                       a.energy_eV + b.energy_eV) for a in first for b in second]  # fmt: skip
        return sorted(both, key=lambda start: start.energy_eV)[: self.config.finalists]

    def _scan(
        self, boundary: int, base: _Start, shifts_A: np.ndarray, gaps_A: np.ndarray, turn: np.ndarray | None
    ) -> list[_Start]:
        """All translations of one boundary (of both, with ``turn``) as they are; the best of them, spread out."""
        plans = []
        for shift, least in zip(shifts_A, gaps_A, strict=True):
            for more in self.config.extra_gaps_A:
                translations, gaps = base.translations_A.copy(), base.gaps_A.copy()
                translations[boundary], gaps[boundary] = shift, least + more
                if turn is not None:
                    translations[1], gaps[1] = shift @ turn, least + more
                plans.append(_Start(translations, gaps, 0.0))
        at_once = 32
        begun, energies = time.monotonic(), []
        for first in range(0, len(plans), at_once):
            key, group = f"scan-{boundary}-{first}", plans[first : first + at_once]
            if (known := self.journal.get(key)) is None:
                self._pause()
                frames = [self.taken.joined(p.translations_A, p.gaps_A).to_ase() for p in group]
                self.batch.evaluate(frames, stress=False)
                known = [float(frame.get_potential_energy()) for frame in frames]
                self.journal.put(key, known)
            energies += known
            self._tell(f"boundary {boundary + 1}: scanned", len(energies), len(plans), begun)
        self.n_scanned += len(plans)
        best = [_Start(plans[k].translations_A, plans[k].gaps_A, energies[k]) for k in np.argsort(energies)]
        return self._spread(boundary, best)

    def _spread(self, boundary: int, best: list[_Start]) -> list[_Start]:
        """The first ones that are far enough from each other in the plane, and no copies of each other."""
        inverse = np.linalg.inv(self.taken.in_plane_A)
        chosen: list[_Start] = []

        def known(start: _Start, other: _Start) -> bool:
            apart = start.translations_A[boundary] - other.translations_A[boundary]
            apart = apart - np.round(apart @ inverse) @ self.taken.in_plane_A
            copies = abs(start.energy_eV - other.energy_eV) < SAME_EV and np.allclose(start.gaps_A, other.gaps_A,
                                                                                      atol=1e-3)  # fmt: skip
            return copies or float(np.linalg.norm(apart)) < max(self.config.apart_A, 1e-6)

        for start in best:
            if not any(known(start, other) for other in chosen):
                chosen.append(start)
            if len(chosen) == self.config.shortlist:
                break
        return chosen

    def _short(self, boundary: int, starts: list[_Start]) -> list[_Start]:
        """A few steps of relaxation for each, lowest first."""
        begun, relaxed = time.monotonic(), []
        at_once = len(starts) if self.potential.device.type == "cuda" else 1
        for first in range(0, len(starts), at_once):
            key, group = f"short-{boundary}-{first}", starts[first : first + at_once]
            if (known := self.journal.get(key)) is None:
                cells = [self.taken.joined(s.translations_A, s.gaps_A) for s in group]
                found = relax_many(cells, self.potential, True, self.config.fmax_eV_per_A, self.config.short_steps,
                                   self._check, self.batch)  # fmt: skip
                known = [each.energy_eV for each in found]
                self.journal.put(key, known)
            relaxed += [_Start(s.translations_A, s.gaps_A, e) for s, e in zip(group, known, strict=True)]
            self._tell(f"boundary {boundary + 1}: relaxed a little", len(relaxed), len(starts), begun)
        self.n_short += len(relaxed)
        return sorted(relaxed, key=lambda start: start.energy_eV)

    def full(self, k: int, start: _Start) -> tuple[Cell, dict[str, Any]]:
        """One relaxation to the end, saved on the way."""
        key = f"full-{k}"
        if (facts := self.journal.get(key)) is not None and (cell := self.journal.cell(key)) is not None:
            return cell, facts
        half_way = f"{key}-partial"
        begin = self.journal.cell(half_way) or self.taken.joined(start.translations_A, start.gaps_A)
        before = begin.provenance.get("steps", 0)

        def report(index: int, steps: int, energy_eV: float, fmax: float, now: Callable[[], Cell]) -> None:
            if steps % SAVE_EVERY == 0 and steps:
                here = now()
                self.journal.put_cell(half_way, replace(here, provenance={**here.provenance, "steps": before + steps}))
                self.say(f"finalist {k + 1}: step {before + steps}, {energy_eV:.3f} eV, largest force {fmax:.3f} eV/Å")
            self._check(index, steps, energy_eV, fmax, now)

        left = max(1, self.config.max_steps - before)
        one = relax_many([begin], self.potential, True, self.config.fmax_eV_per_A, left, report, self.batch)[0]
        facts = {
            "energy_eV": one.energy_eV,
            "translations_A": start.translations_A.tolist(), "gaps_A": start.gaps_A.tolist(),
            "fmax_eV_per_A": one.fmax_eV_per_A, "steps": before + one.steps, "converged": one.converged,
            "problems": list(check_cell(one.cell).problems),
        }  # fmt: skip
        self.journal.put_cell(key, one.cell)
        self.journal.put(key, facts)
        return one.cell, facts

    def _check(self, index: int, steps: int, energy_eV: float, fmax: float, now: Callable[[], Cell]) -> None:
        self._pause()

    def _pause(self) -> None:
        if self.stop():
            raise RunStopped(f"stopped; the same command goes on from {self.journal.folder}")

    def _tell(self, what: str, done: int, total: int, begun: float) -> None:
        spent = time.monotonic() - begun
        left = f", about {spent / done * (total - done):.0f} s left" if done < total and spent > 1 else ""
        self.say(f"{what} {done} of {total}{left}")
