"""Small systems and exactly solvable potentials for the engine's tests."""

import numpy as np
import torch

from atomflow.cell import Cell
from atomflow.potentials.base import ANY_ELEMENT, Evaluation, PotentialIdentity
from atomflow.potentials.pair import LennardJones

CPU = torch.device("cpu")
torch.set_num_threads(1)  # tiny tensors: a second thread only costs


def argon(n=2, a=5.4, rattle=0.0, seed=0):
    """fcc argon, n × n × n conventional cells."""
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    positions = (corners + basis).reshape(-1, 3) * a
    positions += rattle * np.random.default_rng(seed).standard_normal(positions.shape)
    return Cell([18] * len(positions), positions, np.eye(3) * a * n)


def monoclinic_argon(rattle=0.1, seed=0):
    """Argon in a sheared, turned box: nothing about it is aligned with x, y, z."""
    strain = np.array([[1.0, 0, 0], [0.02, 1.01, 0], [-0.3, 0, 1.03]])
    turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    cell = argon(2, 5.5, rattle, seed)
    return Cell(cell.numbers, cell.positions_A @ strain @ turn, cell.lattice_A @ strain @ turn)


def lennard_jones(**settings):
    return LennardJones(device="cpu", **settings)


class Toy:
    """A potential given by one function of (positions, lattices, system_index, number of systems)."""

    device = CPU
    dtype = torch.float64
    needs_edges = False
    cutoff_A = 1.0

    def __init__(self, function):
        self.function = function
        self.identity = PotentialIdentity(
            name="toy", kind="pair", sha256="0" * 64, elements=ANY_ELEMENT, cutoff_A=1.0, dtype="float64",
            source="test", reference="", trained_for="",
        )

    def check_elements(self, numbers):
        pass

    def batch_model(self, numbers, system_index, n_systems):
        owner = torch.as_tensor(np.array(system_index))

        def model(positions, lattices, edges, stress):
            energy, forces = self.function(positions, lattices, owner, n_systems)
            return Evaluation(energy, forces, torch.zeros_like(lattices) if stress else None)

        model.needs_edges = False
        return model


def ideal_gas():
    """No forces at all."""
    return Toy(lambda x, h, owner, n: (torch.zeros(n, dtype=x.dtype), torch.zeros_like(x)))


def harmonic(stiffness_eV_per_A2, rest):
    """½k Σ |u − ū|² with u the displacement from ``rest`` and ū its mean: 3N − 3 modes of one frequency."""
    origin = torch.as_tensor(np.array(rest))

    def function(x, h, owner, n):
        u = x - origin
        count = torch.bincount(owner, minlength=n).to(x.dtype)
        mean = torch.zeros((n, 3), dtype=x.dtype).index_add_(0, owner, u) / count[:, None]
        u = u - mean[owner]
        energy = torch.zeros(n, dtype=x.dtype).index_add_(0, owner, 0.5 * stiffness_eV_per_A2 * u.square().sum(1))
        return energy, -stiffness_eV_per_A2 * u

    return Toy(function)
