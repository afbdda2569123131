"""Systems on which potentials are tried: narrower than every cutoff, and real; and a model asked directly.

A test file takes the fixtures by their names: ``own_cache, module = potential_toys.own_cache, ...``.
"""

import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from mace_toys import R_MAX, make_mace

from atomflow.potentials.edges import build_edges

STRUCTURES = Path(__file__).parents[1] / "structures"


def rock_salt():
    """Two formula units of rock salt in a triclinic cell narrower than every cutoff used here, atoms displaced."""
    atoms = bulk("NaCl", "rocksalt", a=5.6).repeat((1, 1, 2))
    atoms.numbers[atoms.numbers == 17] = 8
    rng = np.random.default_rng(1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.06, (3, 3))), scale_atoms=True)
    atoms.rattle(0.15, seed=2)
    widths = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    assert widths.min() < R_MAX
    return atoms


def ordered_nzsp():
    """The 80 atoms of ordered C2/c Na3Zr2Si2PO12, displaced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = ase.io.read(STRUCTURES / "NZSP_C2c_ordered_DFTcoords_PDF84-1200cell.cif")
    atoms = Atoms(read.numbers, positions=read.positions, cell=read.cell, pbc=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def flat(*systems):
    owner = np.repeat(np.arange(len(systems)), [len(a) for a in systems])
    return (np.concatenate([a.numbers for a in systems]), np.concatenate([a.positions for a in systems]),
            np.array([a.cell.array for a in systems]), owner)


def evaluate(potential, *systems, skin_A=0.0, stress=True):
    numbers, positions, lattices, owner = flat(*systems)
    model = potential.batch_model(numbers, owner, len(systems))
    edges = build_edges(positions, lattices, owner, model.cutoff_A + skin_A, model.device)
    return model(torch.tensor(positions), torch.tensor(lattices), edges, stress)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOMFLOW_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def module():
    return make_mace()


@pytest.fixture(scope="module")
def pickled(module, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.model"
    torch.save(module, path)
    return path


@pytest.fixture(scope="module")
def small():
    return rock_salt()
