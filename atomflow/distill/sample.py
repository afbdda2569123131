"""From a sampling configuration to a pool of frames, each drawn from a stream keyed by (seed, source, system)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill import built, decorate, distort
from atomflow.distill.config import (
    BuiltSource,
    CrystalSource,
    Distortion,
    DynamicsSource,
    NzspSource,
    PackingSource,
    SampleConfig,
    Source,
)
from atomflow.distill.frames import Frame, Split, check_no_leakage, split_of, write_frames
from atomflow.errors import InputError

OXIDE_UNITS = {
    "Na2O": ("Na", "Na", "O"), "ZrO2": ("Zr", "O", "O"), "SiO2": ("Si", "O", "O"), "ZnO": ("Zn", "O"),
    "P2O5": ("P",) * 2 + ("O",) * 5, "B2O3": ("B",) * 2 + ("O",) * 3,
}
Progress = Callable[[str], None]
#: at most so often it is said how far sampling is
TELL_EVERY_S = 20.0


@dataclass(frozen=True, eq=False)
class Start:
    """An undistorted or packed configuration of one system, with what its frames inherit."""

    symbols: np.ndarray
    positions_A: np.ndarray
    lattice_A: np.ndarray
    system: str
    family: str
    split: Split
    distortion: Distortion | None
    how: str = "packing"

    def frame(self, positions_A: np.ndarray, lattice_A: np.ndarray, how: str, temperature_K: float | None) -> Frame:
        from ase.data import atomic_numbers

        numbers = np.array([atomic_numbers[symbol] for symbol in self.symbols])
        return Frame(numbers, positions_A, lattice_A, self.system, self.family, how, self.split, temperature_K)


def sample(config: SampleConfig, progress: Progress = lambda text: None) -> list[Frame]:
    """All frames of a configuration.

    Raises:
        InputError: a composition, crystal or potential that cannot be had.
    """
    frames: list[Frame] = []
    begun = told = time.monotonic()
    for index, source in enumerate(config.sources):
        before = len(frames)
        for frame in _frames_of(source, config, index):
            frames.append(frame)
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                progress(_how_far(len(frames), config, told - begun))
        progress(f"source {index + 1} of {len(config.sources)} ({source.kind}): {len(frames) - before} frames")
    check_no_leakage(frames)
    return frames if config.keep is None else select_diverse(frames, config.keep)


def _how_far(done: int, config: SampleConfig, spent_s: float) -> str:
    """Frames so far, and where their number is known beforehand the time left, if the rest is like what was done."""
    most = 0
    for source in config.sources:
        start, each = (source.start, len(source.gaps_steps)) if isinstance(source, DynamicsSource) else (source, 1)
        if isinstance(start, CrystalSource):
            return f"{done} frames"
        most += start.systems * each
    return f"{done} of at most {most} frames, {spent_s / done * (most - done) / 60:.1f} min left if all are alike"


def write_pool(frames: list[Frame], folder: str | Path, config: SampleConfig) -> Path:
    """``folder/pool.npz``; :class:`InputError` if one lies there already."""
    folder = Path(folder)
    if (folder / "pool.npz").exists():
        raise InputError(f"{folder} already holds a pool; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return write_frames(frames, folder / "pool.npz", {"sample": config.model_dump(mode="json")})


def _frames_of(source: Source, config: SampleConfig, index: int) -> Iterator[Frame]:
    if isinstance(source, DynamicsSource):
        yield from _dynamics(source, config, index)
        return
    for start, rng in _starts(source, config, index):
        positions, lattice, how = _distorted(start, rng)
        yield start.frame(positions, lattice, how, None)


def _starts(
    source: NzspSource | CrystalSource | PackingSource | BuiltSource, config: SampleConfig, index: int
) -> Iterator[tuple[Start, np.random.Generator]]:
    make = {"nzsp": _nzsp_starts, "crystals": _crystal_starts, "packings": _packing_starts,
            "built": _built_starts}[source.kind]
    yield from make(source, config, index)  # type: ignore[operator]


def _distorted(start: Start, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    if start.distortion is None:
        return start.positions_A, start.lattice_A, start.how
    change = start.distortion
    positions, lattice = distort.strained(start.positions_A, start.lattice_A, rng, change.volume, change.shear)
    framework, mobile = rng.uniform(*change.framework_A), rng.uniform(*change.mobile_A)
    return distort.rattled(start.symbols, positions, lattice, rng, framework, mobile), lattice, "rattle"


def _nzsp_starts(
    source: NzspSource, config: SampleConfig, index: int
) -> Iterator[tuple[Start, np.random.Generator]]:
    for number in range(source.systems):
        rng = np.random.default_rng([config.seed, index, number])
        framework = source.frameworks[number % len(source.frameworks)]
        silicon = source.silicon[number % len(source.silicon)]
        zinc = int(source.zinc_every > 0 and silicon <= 2 and number % source.zinc_every == source.zinc_every - 1)
        atoms = decorate.decorated(framework, silicon, zinc, rng)
        system = f"nzsp-{framework}-x{silicon:g}-zn{zinc}-{decorate.digest(*atoms[:2])}"
        held_out = silicon in config.held_out_silicon
        split: Split = "test" if held_out else split_of(system, config.held_out_fraction)
        yield Start(*atoms, system, "nzsp", split, source.distortion), rng


def _crystal_starts(
    source: CrystalSource, config: SampleConfig, index: int
) -> Iterator[tuple[Start, np.random.Generator]]:
    for number, (name, structure) in enumerate(_crystals(source)):
        system = f"crystal-{name}"
        for copy in range(source.per_crystal):
            rng = np.random.default_rng([config.seed, index, number, copy])
            symbols = np.array([site.specie.symbol for site in structure])
            yield Start(symbols, np.array(structure.cart_coords), np.array(structure.lattice.matrix), system,
                        source.family, split_of(system, config.held_out_fraction), source.distortion), rng


def _crystals(source: CrystalSource) -> Iterator[tuple[str, Any]]:
    """Name and primitive cell, repeated along its shortest edge up to the fewest atoms, of every fitting crystal."""
    for name, structure in _named_structures(source.crystals):
        symbols = {element.symbol for element in structure.composition.elements}
        fits = structure.is_ordered and symbols <= set(source.elements)
        if not fits or (source.must_hold is not None and source.must_hold not in symbols):
            continue
        cell = structure.get_primitive_structure()
        while len(cell) < source.atoms[0]:
            repeats = [1, 1, 1]
            repeats[int(np.argmin(cell.lattice.abc))] = 2
            cell = cell * repeats
        if len(cell) <= source.atoms[1]:
            yield name, cell


def _named_structures(entries: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    from pymatgen.core import Structure

    from atomflow import crystals

    for entry in entries:
        path = Path(entry)
        if entry in crystals.list():
            yield entry, crystals.load(entry)
        elif path.is_dir() or path.is_file():
            for file in sorted(path.glob("*.cif")) if path.is_dir() else [path]:
                yield file.stem, Structure.from_file(str(file))
        else:
            raise InputError(f"'{entry}' is neither a crystal of structures/ nor a file nor a folder")


def _packing_starts(
    source: PackingSource, config: SampleConfig, index: int
) -> Iterator[tuple[Start, np.random.Generator]]:
    unknown = set(source.units) - set(OXIDE_UNITS)
    if unknown:
        raise InputError(f"unknown oxide unit {sorted(unknown)[0]}; known: {', '.join(OXIDE_UNITS)}")
    for number in range(source.systems):
        rng = np.random.default_rng([config.seed, index, number])
        counts = {unit: int(rng.integers(low, high + 1)) for unit, (low, high) in source.units.items()}
        symbols = np.array([s for unit, count in counts.items() for _ in range(count) for s in OXIDE_UNITS[unit]])
        if len(symbols) > source.atoms_max:
            units = [unit for unit, count in counts.items() for _ in range(count)]
            symbols = _whole_units(rng.permutation(units), source.atoms_max)
        positions, lattice = distort.packed(symbols, rng.uniform(*source.density_g_per_cm3), rng,
                                            rng.uniform(*source.floor))
        system = f"{config.name}-{config.seed}-{index}-packing-{number}"
        yield Start(symbols, positions, lattice, system, source.family,
                    split_of(system, config.held_out_fraction), None), rng


def _built_starts(
    source: BuiltSource, config: SampleConfig, index: int
) -> Iterator[tuple[Start, np.random.Generator]]:
    for number in range(source.systems):
        rng = np.random.default_rng([config.seed, index, number])
        cell, draw = built.built(source, rng)
        system = built.name_of(source, draw, f"{config.name}-{config.seed}-{index}-{source.builder}-{number}")
        split: Split = "test" if built.held_out(source, draw) else split_of(system, config.held_out_fraction)
        yield Start(cell.symbols, cell.positions_A, cell.lattice_A, system, source.family, split,
                    source.distortion, "built"), rng


def _whole_units(units: np.ndarray, atoms_max: int) -> np.ndarray:
    """As many whole oxide units, in the given order, as fit."""
    symbols: list[str] = []
    for unit in units:
        if len(symbols) + len(OXIDE_UNITS[unit]) <= atoms_max:
            symbols.extend(OXIDE_UNITS[unit])
    return np.array(symbols)


def _dynamics(source: DynamicsSource, config: SampleConfig, index: int) -> Iterator[Frame]:
    import ase

    from atomflow import potentials
    from atomflow.distill.dynamics import trajectory_frames

    calculator = potentials.load(source.potential).calculator()  # type: ignore[attr-defined]
    for number, (start, rng) in enumerate(_starts(source.start, config, index)):
        positions, lattice, _ = _distorted(start, rng)
        temperature = source.temperatures_K[number % len(source.temperatures_K)]
        atoms = ase.Atoms(list(start.symbols), positions=positions, cell=lattice, pbc=True)
        for moved, now_K, sane in trajectory_frames(
            atoms, calculator, temperature, source.gaps_steps, source.timestep_fs, source.friction_per_fs,
            source.descent_steps, int(rng.integers(2**31)), source.cooled_from_K,
        ):
            yield start.frame(moved, lattice, "md" if sane else "md-doubtful", now_K)


def descriptor(frame: Frame, bins: int = 12, reach_A: float = 5.0) -> np.ndarray:
    """A cheap fingerprint: histograms of Na–O, O–O, cation–O and cation–cation distances per atom, and the density."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, distances = primitive_neighbor_list(
        "ijd", (True, True, True), frame.lattice_A, frame.positions_A, reach_A, numbers=np.ones(frame.n_atoms, int)
    )
    oxygen, sodium = frame.numbers == 8, frame.numbers == 11
    group = np.array([0 if oxygen[k] else 1 if sodium[k] else 2 for k in range(frame.n_atoms)])
    parts = [np.histogram(distances[(group[i] == a) & (group[j] == b)], bins, (1.0, reach_A))[0] / frame.n_atoms
             for a in range(3) for b in range(a, 3)]
    return np.concatenate([*parts, [frame.n_atoms / frame.volume_A3 * 10]])


def select_diverse(frames: list[Frame], keep: int) -> list[Frame]:
    """The ``keep`` frames farthest from one another by :func:`descriptor` (greedy), in original order."""
    if keep >= len(frames):
        return frames
    points = np.stack([descriptor(frame) for frame in frames])
    points = (points - points.mean(0)) / (points.std(0) + 1e-9)
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < keep:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return [frames[k] for k in sorted(chosen)]
