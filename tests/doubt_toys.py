"""Toys of the tests of the committee's doubt: a cell, and a committee of three tiny models.

A test file takes the fixtures by their names: ``files, models, student = doubt_toys.files, ...``.
"""

import numpy as np
import pytest
from mace_toys import built_once, tiny_files

from atomflow import potentials
from atomflow.cell import Cell
from atomflow.potentials.committee import members_of_files, with_committee


def oxide(n=2, rattle=0.1, seed=0, spacing=2.1):
    """NaO rock salt, atoms displaced."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(2 * n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    numbers = np.where(grid.sum(1) % 2 == 0, 11, 8)
    return Cell(numbers, grid * spacing + rng.normal(0, rattle, grid.shape), np.eye(3) * 2 * n * spacing)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    with built_once():
        yield tiny_files(tmp_path_factory.mktemp("committee"), 3)


@pytest.fixture(scope="module")
def models(files):
    return [potentials.load(file, device="cpu") for file in files]


@pytest.fixture(scope="module")
def student(files, models):
    return with_committee(models[0], members_of_files(files[1:]))
