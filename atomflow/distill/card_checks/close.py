"""Atoms pushed into one another: whether the energy climbs all the way, or falls again into a hole.

For every pair of elements the two atoms of a held-out frame of dynamics are moved towards one another along their
bond, all else fixed, to 0.3 Å. Only where neither comes closer to a third atom than any trained frame has that pair:
otherwise the energy would say something of another pair. What is asked below the closest trained distance is whether
the energy ever falls on the way in, and if so, what wall it takes to get there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work, png
from atomflow.distill.closest import Pair, closest_distances_A, pairs_of, shown
from atomflow.distill.frames import Frame
from atomflow.plain import to_jsonable

TITLE = "Atoms pushed into one another"
#: Distances of a path in Å: where it ends, and its steps.
END_A, STEP_A = 0.3, 0.05
#: Pushed together are pairs closer than this in the frame, in so many frames of each pair of elements.
FROM_A, PATHS = 4.5, 4
#: A third atom can be met from so far away, Å: half the way pushed, and the largest of the closest distances.
AROUND_A = 8.0
#: A fall of less than this, in eV, is none.
FALL_EV = 1e-3
#: Shares of the way that the first of the two atoms goes: both halfway, or one of them alone.
SHARES = (0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Path:
    """Two atoms of a frame on their way to one another.

    Attributes:
        atoms: the two. towards: (3,) unit vector from the first to the second.
        distances_A: (K,) downwards, from that in the frame to the last. share: of the way that the first atom goes.
    """

    frame: Frame
    atoms: tuple[int, int]
    towards: np.ndarray
    distances_A: np.ndarray
    share: float

    def positions_A(self) -> np.ndarray:
        """(K, N, 3)."""
        moved = np.repeat(self.frame.positions_A[None], len(self.distances_A), axis=0)
        way = (self.distances_A[0] - self.distances_A)[:, None] * self.towards
        moved[:, self.atoms[0]] += self.share * way
        moved[:, self.atoms[1]] -= (1 - self.share) * way
        return moved


def work(context: Context) -> Work:
    frames = [frame for frame in candidates(context.frames) if context.knows(set(_symbols(frame)))]
    count = len(pairs_of({symbol for frame in frames for symbol in _symbols(frame)})) * PATHS
    atoms = sorted(frame.n_atoms for frame in frames)[: count or 1]
    return Work(student=count * round((2.5 - END_A) / STEP_A) * float(np.mean(atoms or [0])))


def run(context: Context) -> Section:
    from atomflow.potentials.repulsion import repulsion_radii_A

    frames, closest = candidates(context.frames), closest_distances_A(shown(context.frames))
    if not frames or not closest:
        return Section(missing=["no labelled frames, trained and held-out ones, are at hand (--labelled)"])
    radii = repulsion_radii_A(getattr(context.potential, "model", None))
    potential = context.potential.with_dtype("float64")
    found: dict[str, Any] = {}
    for pair, closest_A in closest.items():
        if context.knows(set(pair)):
            taken = paths(pair, frames, closest)
            curves = [pushed(path, energies_eV(path, potential), closest_A) for path in taken]
            reach = radii[pair[0]] + radii[pair[1]] if radii else None
            found["-".join(pair)] = {"closest_A": closest_A, "reach_A": reach, "paths": curves}
            context.say(f"close: {'-'.join(pair)}, {len(curves)} paths")
    return section(found)


def _symbols(frame: Frame) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in np.unique(frame.numbers)]


def candidates(frames: Sequence[Frame]) -> list[Frame]:
    """Held-out frames of dynamics, the smallest first."""
    return sorted((frame for frame in frames if frame.split == "test" and frame.how == "md"), key=lambda f: f.n_atoms)


def paths(pair: Pair, frames: Sequence[Frame], closest: Mapping[Pair, float]) -> list[Path]:
    """At most ``PATHS`` of different systems on which the two meet no third atom; fewer where there are no more."""
    found: dict[str, Path] = {}
    for frame in frames:
        if frame.system not in found:
            path = next(_clear_paths(pair, frame, closest), None)
            if path is not None:
                found[frame.system] = path
        if len(found) == PATHS:
            break
    return list(found.values())


def _clear_paths(pair: Pair, frame: Frame, closest: Mapping[Pair, float]) -> Iterator[Path]:
    """Of the atoms of a frame, the nearest two first."""
    from ase.data import atomic_numbers

    from atomflow.potentials.edges import neighbour_arrays

    first, second = (atomic_numbers[symbol] for symbol in pair)
    if not {first, second} <= set(frame.numbers.tolist()):
        return
    senders, receivers, images = neighbour_arrays(frame.positions_A, frame.lattice_A, AROUND_A)
    vectors = frame.positions_A[receivers] - frame.positions_A[senders] + images @ frame.lattice_A
    lengths = np.linalg.norm(vectors, axis=1)
    here = (frame.numbers[senders] == first) & (frame.numbers[receivers] == second) & (lengths < FROM_A)
    here &= (senders < receivers) if first == second else (senders != receivers)
    for edge in np.flatnonzero(here)[np.argsort(lengths[here])]:
        distances = np.append(np.arange(lengths[edge], END_A, -STEP_A), END_A)
        for share in SHARES:
            path = Path(frame, (int(senders[edge]), int(receivers[edge])), vectors[edge] / lengths[edge], distances,
                        share)  # fmt: skip
            if _meets_nobody(path, (senders, receivers, images, vectors), int(edge), closest):
                yield path


def _meets_nobody(path: Path, edges: tuple[np.ndarray, ...], pushed: int, closest: Mapping[Pair, float]) -> bool:
    """Whether the two come nowhere closer to a third atom (or an image) than trained frames have that pair."""
    from ase.data import chemical_symbols

    senders, receivers, images, vectors = edges
    numbers = path.frame.numbers
    way = (path.distances_A[0] - path.distances_A)[:, None] * path.towards
    shifts = np.zeros((path.frame.n_atoms, *way.shape))
    shifts[path.atoms[0]], shifts[path.atoms[1]] = path.share * way, -(1 - path.share) * way
    for atom in path.atoms:
        own = np.flatnonzero(senders == atom)
        back = (receivers[own] == senders[pushed]) & (images[own] == -images[pushed]).all(axis=1)
        own = own[(own != pushed) & ~(back & (atom == path.atoms[1]))]
        lengths = np.linalg.norm(vectors[own][:, None] + shifts[receivers[own]] - shifts[atom], axis=2).min(axis=1)
        for z in np.unique(numbers[receivers[own]]):
            a, b = sorted((chemical_symbols[numbers[atom]], chemical_symbols[z]))
            if lengths[numbers[receivers[own]] == z].min() < closest.get((a, b), 0.0):
                return False
    return True


def energies_eV(path: Path, potential: Any, batch: int = 16) -> np.ndarray:
    """(K,) total energies along a path."""
    import torch

    from atomflow.potentials.edges import build_edges

    found = []
    for positions in np.array_split(path.positions_A(), -(-len(path.distances_A) // batch)):
        count, atoms = positions.shape[:2]
        owner, lattices = np.repeat(np.arange(count), atoms), np.repeat(path.frame.lattice_A[None], count, axis=0)
        flat = positions.reshape(-1, 3)
        model = potential.batch_model(np.tile(path.frame.numbers, count), owner, count)
        edges = build_edges(flat, lattices, owner, model.cutoff_A, model.device) if model.needs_edges else None
        answer = model(*(torch.as_tensor(array, device=model.device) for array in (flat, lattices)), edges, False)
        found.append(answer.energy_eV.cpu().numpy())
    return np.concatenate(found)


def pushed(path: Path, energies: np.ndarray, closest_A: float) -> dict[str, Any]:
    """What a path says: where below the closest trained distance the energy falls again, and behind what wall.

    The climb is counted from the lowest energy on the way to there; without a fall it is that of the whole path.
    """
    below = path.distances_A[:-1] <= closest_A
    falls = np.flatnonzero(below & (np.diff(energies) < -FALL_EV))
    end = int(falls[0]) if len(falls) else len(energies) - 1
    return {"system": path.frame.system, "n_atoms": path.frame.n_atoms, "share": path.share,
            "falls_at_A": float(path.distances_A[end]) if len(falls) else None,
            "climb_eV": float(energies[end] - energies[: end + 1].min()),
            "distances_A": path.distances_A.tolist(), "energies_eV": (energies - energies[0]).tolist()}  # fmt: skip


def section(found: Mapping[str, Any]) -> Section:
    """Table, figure and headline from what was found of every pair."""
    result = Section(columns=["pair", "paths", "closest trained (Å)", "repulsion below (Å)", "falls again at (Å)",
                              "behind a climb of (eV)"])  # fmt: skip
    worst: dict[str, Any] = {}
    for name, facts in found.items():
        if not facts["paths"]:
            result.missing.append(f"{name}: no two in these frames could be pushed together past all other atoms")
            continue
        low = worst[name] = min(facts["paths"], key=lambda path: (path["falls_at_A"] is None, path["climb_eV"]))
        fell = low["falls_at_A"] is not None
        result.rows.append(
            [name, str(len(facts["paths"])), f"{facts['closest_A']:.2f}",
             "-" if facts["reach_A"] is None else f"{facts['reach_A']:.2f}",
             f"{low['falls_at_A']:.2f}" if fell else "never", f"{low['climb_eV']:.1f}" if fell else "-"]
        )  # fmt: skip
    holes = {name: low for name, low in worst.items() if low["falls_at_A"] is not None}
    smallest = min(holes, key=lambda name: holes[name]["climb_eV"], default=None)
    result.facts = to_jsonable({"pairs": found, "pairs_pushed": len(worst), "pairs_that_fall": sorted(holes),
                                "smallest_climb_eV": smallest and holes[smallest]["climb_eV"]})
    told = f"{len(worst)} pairs of elements pushed together to {END_A:g} Å, in at most {PATHS} held-out frames each: "
    result.lines.append(told + (f"{len(holes)} fall again below the closest trained distance; the lowest wall before a "
                                f"fall is {holes[smallest]['climb_eV']:.1f} eV ({smallest}, at "
                                f"{holes[smallest]['falls_at_A']:.2f} Å)." if smallest else
                                "the energy of none falls again."))  # fmt: skip
    result.lines.append("Everything else stays fixed; neither atom comes closer to a third one than trained frames do.")
    result.lines.append("Of one atom crowded by many, none of them too close, this says nothing.")
    if worst:
        result.figure_png = _figure(worst)
    return result


def _figure(worst: Mapping[str, Any]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes: Any = figure.subplots()
    lowest = sorted(worst, key=lambda name: (worst[name]["falls_at_A"] is None, worst[name]["climb_eV"]))[:5]
    for name, path in worst.items():
        energies = np.array(path["energies_eV"])
        style = {"lw": 1.4, "label": name, "zorder": 3} if name in lowest else {"lw": 0.6, "color": "0.7"}
        axes.plot(path["distances_A"], energies - energies.min(), **style)
    axes.set(xlabel="distance of the two atoms (Å)", ylabel="energy above the lowest (eV)", xlim=(END_A, 2.5))
    axes.set_yscale("symlog", linthresh=1.0)
    axes.legend(fontsize=8)
    return png(figure)
