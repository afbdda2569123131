"""Ways of one Na from its site to an empty one in random decorations of NZSP, found by a band of a student.

Dynamics seldom stands at a saddle; barriers are read there. No hop is sampled that a card measures: neither end of a
card's hop is an end of one of these, whatever symmetry operation turns one into the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from atomflow.distill import bands, decorate, distort
from atomflow.distill.frames import Frame
from atomflow.distill.sources.config import Framework, HopsSource
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

    calculator = potentials.load(source.potential).calculator()  # type: ignore[attr-defined]
    return [partial(_frames, source, stream, calculator, number) for number in range(source.systems)]


def _frames(source: HopsSource, stream: Stream, calculator: Any, number: int) -> Iterator[Frame]:
    rng = stream.generator(number)
    for _ in range(_BANDS_PER_SYSTEM):
        hop = drawn(source, stream, number, rng)
        start, last_A = _ends(source, stream, hop, rng)
        first = start.frame(start.positions_A, start.lattice_A, "hop", None).to_ase()
        last = start.frame(last_A, start.lattice_A, "hop", None).to_ase()
        first.calc = last.calc = calculator
        found = bands.band([first, last], source.images, source.fmax_eV_per_A, source.max_steps)
        if not leads_over(found, hop.ion, source.barrier_max_eV):
            continue
        taken = (start.frame(np.array(cell["positions_A"]), start.lattice_A, "hop", None) for cell in found["cells"])
        yield from with_copies(taken, source.rattled, rng)
        return


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
        names = {decorate.name_of(framework, occupied) for occupied in (before, after)}
        if len({stream.split(name) for name in names}) == 1 and not names & _of_cards(source.card_seeds):
            return Hop(framework, before, after, int((before[:full] != "").sum()), step)
    raise InputError(f"sampling hops: no hop of at most {source.longest_A:g} Å in {_DRAWS_PER_SYSTEM} {framework} "
                     f"decorations of x = {silicon:g} that is not one of the card's; take a larger longest_A")


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
