"""How close two atoms come in what a student was trained on, and the repulsion that begins below.

The repulsion (:mod:`atomflow.potentials.repulsion`) reaches as far as the sum of two radii. They are chosen as large as
can be without any pair of any trained frame in reach: each of these frames keeps its energy to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.beginnings import portable_student
from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import Frame, labels_of
from atomflow.distill.members import member_folder
from atomflow.errors import InputError

#: What is left between the reach and the closest trained distance, for positions stored and models run in float32.
MARGIN_A = 1e-3
Pair = tuple[str, str]


def pairs_of(elements: Iterable[str]) -> list[Pair]:
    """Every pair of elements once, in alphabetical order."""
    return list(combinations_with_replacement(sorted(elements), 2))


def closest_distances_A(frames: Iterable[Frame]) -> dict[Pair, float]:
    """The shortest distance in Å of each pair of elements (alphabetical) over all frames, periodic images included.

    Pairs that come nowhere closer than twice the largest covalent radius of a frame's elements are not among them.
    """
    from ase.data import chemical_symbols, covalent_radii

    from atomflow.potentials.edges import neighbour_arrays

    closest = np.full((len(chemical_symbols),) * 2, np.inf)
    for frame in frames:
        numbers, lattice = frame.numbers, frame.lattice_A
        cutoff_A = 2 * covalent_radii[np.unique(numbers)].max()
        first, second, images = neighbour_arrays(frame.positions_A, lattice, cutoff_A)
        vectors = frame.positions_A[second] - frame.positions_A[first] + images @ lattice
        np.minimum.at(closest, (numbers[first], numbers[second]), np.linalg.norm(vectors, axis=1))
    found = np.argwhere(np.isfinite(closest))
    named = {(chemical_symbols[a], chemical_symbols[b]): float(closest[a, b]) for a, b in found}
    return {pair: named[pair] for pair in sorted(named) if pair[0] <= pair[1]}


def largest_radii_A(closest: Mapping[Pair, float], elements: Sequence[str]) -> dict[str, float]:
    """One radius in Å an element, so that r_A + r_B stays below the closest distance of every pair seen.

    Two linear programmes: first the smallest (r_A + r_B) / closest of all pairs becomes as large as can be, then, with
    that kept, the mean of them. (The mean alone takes the radius from oxygen, whose short bonds bind all the others,
    and leaves two oxygen atoms without a repulsion.) No radius exceeds the covalent one; a pair that was never seen
    puts no bound, and counts with its covalent distance.

    Args:
        closest: of :func:`closest_distances_A`; pairs of other elements are left out.

    Raises:
        InputError: no pair of these elements was seen.
    """
    from ase.data import atomic_numbers, covalent_radii
    from scipy.optimize import linprog

    known = sorted(elements)
    covalent = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in known])
    pairs = pairs_of(known)
    if not any(pair in closest for pair in pairs):
        raise InputError(f"the frames hold no two atoms of {', '.join(known)} close to one another")
    sums = np.array([[(symbol == a) + (symbol == b) for symbol in known] for a, b in pairs], float)
    distances = np.array([closest.get(pair, np.inf) for pair in pairs])
    ratios = sums / np.where(np.isfinite(distances), distances, sums @ covalent)[:, None]
    limits = np.where(np.isfinite(distances), distances - MARGIN_A, sums @ covalent)
    bounds = [(0.0, float(radius)) for radius in covalent]
    # unknowns: the radii, and the smallest ratio t: t - ratio <= 0
    rows = np.block([[sums, np.zeros((len(pairs), 1))], [-ratios, np.ones((len(pairs), 1))]])
    first = linprog([*np.zeros(len(known)), -1.0], A_ub=rows, b_ub=[*limits, *np.zeros(len(pairs))],
                    bounds=[*bounds, (0.0, None)])  # fmt: skip
    least = (1 - 1e-9) * first.x[-1]
    found = linprog(-ratios.mean(axis=0), A_ub=np.concatenate([sums, -ratios]),
                    b_ub=[*limits, *np.full(len(pairs), -least)], bounds=bounds)  # fmt: skip
    return dict(zip(known, np.clip(found.x, 0, covalent).tolist(), strict=True))


def shown(frames: Iterable[Frame], largest_force_eV_per_A: float = 25.0) -> list[Frame]:
    """The labelled frames that a student is trained on or chosen by: no test frame, none with a larger force."""
    return [frame for frame in frames if frame.split == "train"
            and np.abs(labels_of(frame).forces_eV_per_A).max() <= largest_force_eV_per_A]  # fmt: skip


def trained_in(folder: Path) -> Iterator[Frame]:
    """The training and validation frames of a folder that ``atomflow potential train`` wrote.

    Validation frames too, because the members of a committee divide the same frames differently: so all repel alike.
    """
    import ase.io

    for name in ("train.xyz", "valid.xyz"):
        for atoms in ase.io.iread(folder / "data" / name):
            facts = {key: atoms.info[key] for key in ("system", "family", "how", "split")}
            yield Frame(atoms.numbers, atoms.positions, atoms.cell.array, **facts)


def repelling(model: Any, folder: Path, config: StudentConfig) -> Any:
    """A copy of the model trained in ``folder`` that repels atoms closer than any in its frames.

    A student that went on from an earlier one, which may have seen closer atoms, repels no farther than that one.
    """
    return with_radii(model, closest_distances_A(trained_in(folder)), _earlier_radii_A(config))


def with_radii(model: Any, closest: Mapping[Pair, float], at_most: Mapping[str, float] | None = None) -> Any:
    """A copy of a ScaleShiftMACE with the repulsion that fits these closest distances, within half its cutoff.

    Args:
        at_most: largest radii in Å, by element.
    """
    from ase.data import chemical_symbols

    from atomflow.potentials.repulsion import with_repulsion

    radii = largest_radii_A(closest, [chemical_symbols[int(z)] for z in model.atomic_numbers])
    half = 0.49 * float(model.r_max)
    return with_repulsion(model, {symbol: min(radius, (at_most or {}).get(symbol, half), half)
                                  for symbol, radius in radii.items()})  # fmt: skip


def radii_in(path: Path) -> dict[str, float] | None:
    """The radii in Å of the repulsion in a portable model's file, or None; read without torch."""
    from ase.data import chemical_symbols

    with np.load(path, allow_pickle=False) as archive:
        if "pair_repulsion_fn.covalent_radii" not in archive.files:
            return None
        radii = archive["pair_repulsion_fn.covalent_radii"]
        return {chemical_symbols[int(z)]: float(radii[int(z)]) for z in archive["atomic_numbers"]}


def _earlier_radii_A(config: StudentConfig) -> dict[str, float] | None:
    if config.grow_from:
        return radii_in(portable_student(config.grow_from))
    files = sorted(member_folder(config.start_from, 1).glob("*.mace.npz")) if config.start_from else []
    return radii_in(files[0]) if files else None
