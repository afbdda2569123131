"""Toys of the tests of the committee's doubt."""

import numpy as np

from atomflow.cell import Cell


def oxide(n=2, rattle=0.1, seed=0, spacing=2.1):
    """NaO rock salt, atoms displaced."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(2 * n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    numbers = np.where(grid.sum(1) % 2 == 0, 11, 8)
    return Cell(numbers, grid * spacing + rng.normal(0, rattle, grid.shape), np.eye(3) * 2 * n * spacing)
