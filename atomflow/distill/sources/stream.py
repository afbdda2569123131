"""What every source draws with: its stream of random numbers, its splits, and frames made of a start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from atomflow.distill import distort
from atomflow.distill.frames import Frame, Split, split_of
from atomflow.distill.sources.config import Distortion, GuidedSource


@dataclass(frozen=True)
class Stream:
    """One source's place in a sampling configuration: all that its draws and splits depend on but itself."""

    name: str
    seed: int
    index: int
    held_out_fraction: float
    held_out_silicon: tuple[float, ...]

    def generator(self, *number: int) -> np.random.Generator:
        """The random numbers of one system, the same whatever else is sampled."""
        return np.random.default_rng([self.seed, self.index, *number])

    def system(self, what: str, number: int) -> str:
        """The name of a system that nothing else can name: a packing, say, which never comes twice."""
        return f"{self.name}-{self.seed}-{self.index}-{what}-{number}"

    def split(self, system: str, held_out: bool = False) -> Split:
        return "test" if held_out else split_of(system, self.held_out_fraction)


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


#: makes one start, and hands on its stream for what follows
Draw = Callable[[], tuple[Start, np.random.Generator]]
#: gives the frames of one system
Job = Callable[[], Iterator[Frame]]


def as_drawn(draw: Draw) -> Iterator[Frame]:
    """The one frame of a source that no potential moves: its start, brought out of place where that is asked."""
    start, rng = draw()
    positions, lattice, how = distorted(start, rng)
    yield start.frame(positions, lattice, how, None)


def distorted(start: Start, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    """Positions, lattice and how they were made: a start brought out of place as its source says."""
    if start.distortion is None:
        return start.positions_A, start.lattice_A, start.how
    moved = _distorted(start.symbols, start.positions_A, start.lattice_A, start.distortion, rng)
    return *moved, "rattle"


def with_copies(frames: Iterable[Frame], source: GuidedSource, rng: np.random.Generator) -> Iterator[Frame]:
    """The frames, followed by copies that are strained and rattled where the source asks for them."""
    from ase.data import chemical_symbols

    for number, frame in enumerate(frames, 1):
        yield frame
        if source.rattled is not None and number % source.rattled_every == 0:
            symbols = np.array([chemical_symbols[z] for z in frame.numbers])
            positions, lattice = _distorted(symbols, frame.positions_A, frame.lattice_A, source.rattled, rng)
            yield replace(frame, positions_A=positions, lattice_A=lattice, how="rattle", temperature_K=None)


def _distorted(
    symbols: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray, change: Distortion, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    positions, lattice = distort.strained(positions_A, lattice_A, rng, change.volume, change.shear)
    framework, mobile = rng.uniform(*change.framework_A), rng.uniform(*change.mobile_A)
    return distort.rattled(symbols, positions, lattice, rng, framework, mobile), lattice
