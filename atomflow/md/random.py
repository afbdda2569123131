"""Random numbers keyed by run (seed, temperature, cell), stream and step: who shares a batch does not change a path.

The numbers come from numpy's Philox counter generator (Salmon et al., SC11, doi:10.1145/2063384.2063405) on the host,
the same for CPU and CUDA. There is no generator state to checkpoint: the step number is the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

VELOCITIES, LANGEVIN, BUSSI, BAROSTAT = range(4)


def generator(seed: int, stream: int, step: int) -> np.random.Generator:
    """The generator of one system, one purpose and one step."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, step, 0]))


class PerStep:
    """Numbers that each step needs, uploaded to the device a block of steps at a time.

    One small copy a step would make a GPU wait each time; on the CPU a block is one step.
    """

    def __init__(self, draw: Callable[[int], np.ndarray], device: torch.device, block: int | None = None) -> None:
        """``draw(step)`` gives the float64 array of one step, of the same shape for every step."""
        self._draw = draw
        self._device = device
        self._block = block or (1 if device.type == "cpu" else 32)
        self._first: int | None = None
        self._values = torch.empty(0)

    def at(self, step: int) -> torch.Tensor:
        """The tensor of ``step``."""
        if self._first is None or not self._first <= step < self._first + self._block:
            drawn = np.stack([self._draw(s) for s in range(step, step + self._block)])
            self._values = torch.from_numpy(drawn).to(self._device)
            self._first = step
        return self._values[step - self._first]


def normals_per_atom(seeds: Sequence[int], counts: Sequence[int], stream: int) -> Callable[[int], np.ndarray]:
    """Draws (N, 3) standard normals of a flat batch; system k has ``counts[k]`` atoms."""

    def draw(step: int) -> np.ndarray:
        parts = [generator(seed, stream, step).standard_normal((n, 3)) for seed, n in zip(seeds, counts, strict=True)]
        return np.concatenate(parts)

    return draw


def normals_per_system(seeds: Sequence[int], shape: tuple[int, ...], stream: int) -> Callable[[int], np.ndarray]:
    """Draws (S, *shape) standard normals."""
    return lambda step: np.stack([generator(seed, stream, step).standard_normal(shape) for seed in seeds])


def bussi_numbers(seeds: Sequence[int], degrees: Sequence[int]) -> Callable[[int], np.ndarray]:
    """Draws (S, 2): one standard normal, and the sum of ``degrees - 1`` squared standard normals (χ²)."""

    def one(seed: int, dof: int, step: int) -> list[float]:
        random = generator(seed, BUSSI, step)
        return [random.standard_normal(), random.chisquare(dof - 1) if dof > 1 else 0.0]

    return lambda step: np.array([one(seed, dof, step) for seed, dof in zip(seeds, degrees, strict=True)])
