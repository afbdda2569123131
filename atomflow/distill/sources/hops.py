"""Ways of one Na from its site to an empty one in random decorations of NZSP, found by a band of a student.

Dynamics seldom stands at a saddle; barriers are read there. No hop is sampled that a card measures: neither end of a
card's hop is an end of one of these, whatever symmetry operation turns one into the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from atomflow.distill import bands, decorate, distort
from atomflow.distill.frames import Frame
from atomflow.distill.sources import warm
from atomflow.distill.sources.config import Framework, HopsSource, Warm
from atomflow.distill.sources.stream import Job, Start, Stream, with_copies
from atomflow.errors import InputError

#: So many hops are drawn for every system where bands lead nowhere, and so many decorations where none may be used.
_BANDS_PER_SYSTEM, _DRAWS_PER_SYSTEM = 4, 200
#: An ion whose ends are nearer to one another than this, Å, is where it was.
_SAME_SITE_A = 0.8


@dataclass(frozen=True, eq=False)
class Hop:
    """Decoration before and after one Na goes from its site along ``step_A`` to an empty one; ``ion`` counts atoms."""

    framework: Framework
    before: np.ndarray
    after: np.ndarray
    ion: int
    step_A: np.ndarray


def jobs(source: HopsSource, stream: Stream) -> list[Job]:
    from atomflow import potentials

    finder = _Finder(source, stream, potentials.load(source.potential).calculator())  # type: ignore[attr-defined]
    return [partial(finder.frames, number) for number in range(source.systems)]


@dataclass(frozen=True)
class _Finder:
    """What finds the hops of one source: its settings, its stream, and the potential to ask."""

    source: HopsSource
    stream: Stream
    calculator: Any

    def frames(self, number: int) -> Iterator[Frame]:
        rng = self.stream.generator(number)
        for _ in range(_BANDS_PER_SYSTEM):
            hop = drawn(self.source, self.stream, number, rng)
            start, last_A = _ends(self.source, self.stream, hop, rng)
            if self.source.warm is None:
                found = self._over(start, hop.ion, [start.positions_A, last_A])
            else:
                found = self._warmed(self.source.warm, hop, start, last_A, number, int(rng.integers(2**31)))
            if found:
                yield from with_copies(found, self.source, rng)
                return

    def _over(self, start: Start, ion: int, ends_A: Sequence[np.ndarray]) -> list[Frame]:
        """The band between two ends, if it leads the ion over a barrier."""
        cells = [start.frame(positions, start.lattice_A, "hop", None).to_ase() for positions in ends_A]
        for cell in cells:
            cell.calc = self.calculator
        found = bands.band(cells, self.source.images, self.source.fmax_eV_per_A, self.source.max_steps)
        if not leads_over(found, ion, self.source.barrier_max_eV):
            return []
        return [start.frame(np.array(cell["positions_A"]), start.lattice_A, "hop", None) for cell in found["cells"]]

    def _warmed(
        self, settings: Warm, hop: Hop, start: Start, last_A: np.ndarray, number: int, seed: int
    ) -> list[Frame]:
        """Frames of the first passage in dynamics, and of its band; else of ``hop`` in the cell that dynamics left.

        Nothing where dynamics was given up, or an ion went where it may not.
        """
        kelvin = settings.temperatures_K[number % len(settings.temperatures_K)]
        looks = warm.walked(settings, start, self.calculator, kelvin, seed)
        if looks is None:
            return []
        seen = warm.passage(settings, looks, start.lattice_A, hop.framework, hop.before)
        if seen is None:
            if not warm.settled(looks[-1], start.lattice_A, hop.framework, hop.before):
                return []
            moved = looks[-1].copy()
            moved[hop.ion] += last_A[hop.ion] - start.positions_A[hop.ion]
            return self._over(start, hop.ion, [looks[-1], moved])
        if not allowed(self.source, self.stream, hop.framework, (hop.before, seen.before, seen.after)):
            return []
        taken = np.unique(np.linspace(0, len(seen.looks_A) - 1, self.source.images + 2).round().astype(int))[1:-1]
        passed = [start.frame(seen.looks_A[k], start.lattice_A, "md", kelvin) for k in taken]
        return passed + self._over(start, seen.ion, [seen.looks_A[0], seen.looks_A[-1]])


def drawn(source: HopsSource, stream: Stream, number: int, rng: np.random.Generator) -> Hop:
    """A random hop of a random decoration whose ends are both of one split, and neither of them an end of a card's.

    Raises:
        InputError: there is none.
    """
    framework = source.frameworks[number % len(source.frameworks)]
    silicon = source.silicon[number % len(source.silicon)]
    zinc = int(source.zinc_every > 0 and silicon < 2 and number % source.zinc_every == source.zinc_every - 1)
    for _ in range(_DRAWS_PER_SYSTEM):
        before = decorate.occupation(framework, silicon, zinc, rng)
        steps = _steps(framework, before, source.longest_A)
        if not steps:
            continue
        full, empty, step = steps[int(rng.integers(len(steps)))]
        after = before.copy()
        after[[full, empty]] = before[[empty, full]]
        if allowed(source, stream, framework, (before, after)):
            return Hop(framework, before, after, int((before[:full] != "").sum()), step)
    raise InputError(f"sampling hops: no hop of at most {source.longest_A:g} Å in {_DRAWS_PER_SYSTEM} {framework} "
                     f"decorations of x = {silicon:g} that is not one of the card's; take a larger longest_A")


def allowed(source: HopsSource, stream: Stream, framework: Framework, passed: Sequence[np.ndarray]) -> bool:
    """Whether decorations are all of one split, and none of them an end of a hop that a card measures."""
    names = {decorate.name_of(framework, occupied) for occupied in passed}
    return len({stream.split(name) for name in names}) == 1 and not names & _of_cards(source.card_seeds)


def leads_over(band: dict[str, Any], ion: int, barrier_max_eV: float) -> bool:
    """Whether the ion of a band ends elsewhere, and the energy has its maximum on the way, no higher than asked."""
    energies = np.array(band["energies_eV"])
    first, last = (np.array(band["cells"][end]["positions_A"])[ion] for end in (0, -1))
    if not np.isfinite(energies).all() or np.linalg.norm(last - first) < _SAME_SITE_A:
        return False
    return bool(max(energies[0], energies[-1]) < energies.max() <= energies.min() + barrier_max_eV)


def _ends(
    source: HopsSource, stream: Stream, hop: Hop, rng: np.random.Generator
) -> tuple[Start, np.ndarray]:
    """The decoration that the hop leaves, and positions (N, 3) where it comes to; both under the same strain."""
    symbols, first_A, lattice_A = decorate.placed(hop.framework, hop.before)
    last_A = first_A.copy()
    last_A[hop.ion] += hop.step_A
    both_A, lattice_A = distort.strained(np.concatenate([first_A, last_A]), lattice_A, rng, source.volume, source.shear)
    system = decorate.name_of(hop.framework, hop.before)
    held_out = float((hop.before == "Si").sum()) / 2 in stream.held_out_silicon
    split = stream.split(system, held_out)
    return Start(symbols, both_A[: len(symbols)], lattice_A, system, source.family, split, None), both_A[len(symbols):]


def _steps(framework: Framework, occupied: np.ndarray, longest_A: float) -> list[tuple[int, int, np.ndarray]]:
    """Every Na site that is taken, every empty one within reach of it, and the way between them, Å (3,)."""
    labels, positions, lattice = decorate.sites(framework)
    scale = decorate.edge_scale(framework, occupied)
    sodium = labels == "Na"
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), -1).reshape(-1, 3) @ lattice
    found = []
    for full in np.flatnonzero(sodium & (occupied != "")):
        for empty in np.flatnonzero(sodium & (occupied == "")):
            ways = (positions[empty] - positions[full] + images) * scale
            found += [(int(full), int(empty), way) for way in ways if np.linalg.norm(way) <= longest_A]
    return found


@cache
def _of_cards(seeds: tuple[int, ...]) -> frozenset[str]:
    """Names of the decorations that the card's hops leave and come to."""
    from atomflow.distill.card_checks.hops import hop_ends

    names = set()
    labels, positions, lattice = decorate.sites("monoclinic")
    for seed in seeds:
        before = decorate.occupation("monoclinic", 2.0, 0, np.random.default_rng(seed))
        _, last, ion = hop_ends(seed)
        goal = last.positions_A[ion] / decorate.edge_scale("monoclinic", before)
        apart = (positions - goal) @ np.linalg.inv(lattice)
        distances = np.linalg.norm((apart - np.round(apart)) @ lattice, axis=1)
        empty = int(np.where(labels == "Na", distances, np.inf).argmin())
        after = before.copy()
        after[[np.flatnonzero(before != "")[ion], empty]] = "", "Na"
        names |= {decorate.name_of("monoclinic", occupied) for occupied in (before, after)}
    return frozenset(names)
