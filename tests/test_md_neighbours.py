"""Neighbour lists against ASE on cells that break minimum image, and the skin's promise."""

import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from md_toys import CPU, argon, lennard_jones, monoclinic_argon

from atomflow.cell import Cell
from atomflow.md.forces import Forces
from atomflow.md.neighbours import NeighbourList, matscipy_edges, torch_edges
from atomflow.md.state import from_cells

CELLS = {
    "one atom, 2.5 Å": (1, np.eye(3) * 2.5),
    "two atoms, 2.5 Å": (2, np.eye(3) * 2.5),
    "needle": (6, np.diag([30.0, 2.6, 2.7])),
    "plate": (9, np.diag([2.6, 11.0, 12.0])),
    "monoclinic": (20, np.array([[15.6, 0, 0], [0, 9.0, 0], [-4.9, 0, 7.6]])),
    "strongly skewed": (7, np.array([[4.0, 0, 0], [3.7, 3.0, 0], [-3.5, 2.9, 3.5]])),
    "turned": (12, np.array([[1.0, 5.0, 2.0], [-4.0, 2.0, 3.0], [2.0, -3.0, 6.5]])),
}


def as_set(senders, receivers, images):
    rows = zip(senders, receivers, images, strict=True)
    return {(int(i), int(j), *(round(float(x)) for x in image)) for i, j, image in rows}


@pytest.mark.parametrize("build", [torch_edges, matscipy_edges])
@pytest.mark.parametrize("name", CELLS)
def test_edges_are_those_of_ase_on_awkward_cells_and_unwrapped_positions(name, build):
    n, lattice = CELLS[name]
    lattice = lattice if np.linalg.det(lattice) > 0 else lattice[[1, 0, 2]]
    random = np.random.default_rng(n)
    positions = random.random((n, 3)) @ lattice + random.integers(-4, 5, (n, 3)) @ lattice
    cutoff = 5.3
    expected = primitive_neighbor_list("ijS", [True] * 3, lattice, positions, cutoff)
    senders, receivers, images = build(torch.from_numpy(positions), torch.from_numpy(lattice), cutoff)
    found = as_set(senders, receivers, images)
    assert len(found) == len(senders)
    assert found == as_set(*expected)
    vectors = positions[receivers] - positions[senders] + images.numpy() @ lattice
    assert np.linalg.norm(vectors, axis=1).max() < cutoff


def test_the_list_holds_every_pair_while_it_says_so_under_motion_and_strain():
    cell = monoclinic_argon()
    state = from_cells([cell], CPU)
    lists = NeighbourList(state, 5.0, 1.0, fixed_cell=False)
    random = np.random.default_rng(3)
    held = 0
    for _ in range(60):
        strain = np.eye(3) + random.uniform(-0.1, 0.1) * random.standard_normal((3, 3))
        lattice = cell.lattice_A @ strain
        positions = cell.positions_A @ strain + random.uniform(0, 0.25) * random.standard_normal((len(cell), 3))
        if float(lists.slack_A(torch.from_numpy(positions), torch.from_numpy(lattice[None]))[0]) < 0:
            continue
        held += 1
        near = as_set(*matscipy_edges(torch.from_numpy(positions), torch.from_numpy(lattice), 5.0))
        assert near <= as_set(lists.edges.senders, lists.edges.receivers, lists.edges.images)
    assert 5 < held < 55


def test_small_cell_forces_are_those_of_its_supercell():
    small = argon(1, 5.3, rattle=0.2, seed=2)
    shifts = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) @ small.lattice_A
    big = Cell([18] * 256, (small.positions_A + shifts).reshape(-1, 3), small.lattice_A * 4)
    results = []
    for cell in (small, big):
        state = from_cells([cell], CPU)
        Forces(lennard_jones(), state, 1.0, 2.0, stress=True)(state)
        results.append(state)
    few, many = results
    assert small.lattice_A[0, 0] < 8.5
    np.testing.assert_allclose(many.forces_eV_per_A.reshape(64, 4, 3), few.forces_eV_per_A.expand(64, 4, 3), rtol=1e-9,
                               atol=1e-12)
    np.testing.assert_allclose(many.energies_eV, 64 * few.energies_eV, rtol=1e-12, atol=0)
    np.testing.assert_allclose(many.stresses_eV_per_A3, few.stresses_eV_per_A3, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("check_every", [1, 4])
def test_forces_from_a_kept_list_are_those_of_a_fresh_one(check_every):
    from atomflow.md.integrators import verlet_step
    from atomflow.md.state import thermal_velocities

    state = from_cells([argon(2, 5.3), monoclinic_argon()], CPU)
    state.velocities_A_per_fs = thermal_velocities(state, [150.0, 60.0], [1, 2])
    potential = lennard_jones(cutoff_A=6.0)
    forces = Forces(potential, state, 0.6, 4.0, check_every=check_every)
    forces(state)
    for _ in range(150):
        verlet_step(state, forces, 4.0)
        kept = state.forces_eV_per_A
        Forces(potential, state, 0.6, 4.0)(state)
        torch.testing.assert_close(kept, state.forces_eV_per_A, rtol=1e-9, atol=1e-12)
    assert 2 < forces.neighbours.builds < 120
