"""Lennard-Jones fcc crystals whose atoms feel nearest neighbours only, at their minimum: bonds can be counted."""

import numpy as np

from atomflow.cell import Cell
from atomflow.potentials.pair import LennardJones

EPSILON_EV = 0.02
BOND_A = 3.8
SIGMA_A = BOND_A / 2 ** (1 / 6)
A_A = BOND_A * np.sqrt(2)  # of the cubic cell; second neighbours are at A_A, beyond the cutoff
#: On a bridge an atom of (001) fcc has two bonds across in place of four, and stands higher.
BRIDGE = (BOND_A / np.sqrt(8), BOND_A / np.sqrt(8))
BRIDGE_GAP_A = BOND_A * (np.sqrt(3) / 2 - np.sqrt(0.5))
#: Two bonds an atom lost, two atoms in a²: 4 ε / a².
BRIDGE_EV_PER_A2 = 4 * EPSILON_EV / A_A**2
BASIS = np.array([[0, 0, 0.25], [0.5, 0.5, 0.25], [0.5, 0, 0.75], [0, 0.5, 0.75]])


def bonds_only(dtype="float64"):
    """Lennard-Jones that is -ε at the bond and nothing from 1.37 bonds on."""
    return LennardJones(EPSILON_EV, SIGMA_A, 1.37 * BOND_A, 1.2 * BOND_A, device="cpu", dtype=dtype)


def fcc(layers):
    """(4·layers, 3) atoms of a grain of so many cubic cells, its faces at 0 and layers·a, a fifth layer missing."""
    return np.concatenate([(BASIS + np.array([0, 0, k])) * A_A for k in range(layers)])


def bicrystal(shift, gap, layers=2, kind="mirror"):
    """Two grains of (001) fcc with the same orientation, as ``atomflow build boundary`` would note them."""
    height = layers * A_A
    c = np.array([2 * shift[0], 2 * shift[1], 2 * (height + gap)])
    lattice = np.array([[A_A, 0, 0], [0, A_A, 0], c])
    lattice[2, :2] -= np.round(lattice[2, :2] / A_A) * A_A
    grain = fcc(layers)
    positions = np.concatenate([grain, grain + np.array([*shift, height + gap])])
    levels = [height + gap / 2, 2 * height + 1.5 * gap]
    facts = {
        "builder": "boundary", "atoms_of_grain_a": len(grain), "grain_thickness_A": [height, height],
        "crystal_periods_A": [[0, 0, height], [0, 0, height]], "height_A": float(c[2]), "crystal": "fcc",
        "parameters": {"kind": kind},
        "boundaries": [{"z_A": z, "gap_A": gap, "translation_A": list(map(float, shift))} for z in levels],
    }  # fmt: skip
    regions = np.repeat(["grain_a", "grain_b"], len(grain))
    return Cell(np.full(2 * len(grain), 18), positions, lattice, regions, None, facts)


def slab(layers=3, vacuum=15.0):
    height = layers * A_A
    facts = {"builder": "slab", "grain_thickness_A": [height], "crystal_periods_A": [[0, 0, height]],
             "crystal": "fcc", "parameters": {}}  # fmt: skip
    return Cell(np.full(4 * layers, 18), fcc(layers), np.diag([A_A, A_A, height + vacuum]),
                np.full(4 * layers, "grain_a"), None, facts)  # fmt: skip
