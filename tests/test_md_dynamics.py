"""Newton's equations: total energy, reversibility, ASE as the oracle."""

import ase.units
import numpy as np
import pytest
import torch
from ase.md.verlet import VelocityVerlet
from md_toys import CPU, argon, harmonic, lennard_jones, monoclinic_argon

from atomflow.md.forces import Forces
from atomflow.md.integrators import verlet_init, verlet_step
from atomflow.md.state import from_cells, thermal_velocities
from atomflow.units import ACCELERATION_A_PER_FS2, BOLTZMANN_EV_PER_K


def moving(cells, temperatures, seeds, potential, timestep_fs=2.0):
    state = from_cells(cells, CPU)
    state.velocities_A_per_fs = thermal_velocities(state, temperatures, seeds)
    forces = Forces(potential, state, 1.0, timestep_fs)
    verlet_init(state, forces)
    return state, forces


def total_energy(state):
    return float((state.energies_eV + state.kinetic_eV())[0])


def test_total_energy_error_falls_with_the_square_of_the_time_step():
    def error(timestep_fs):
        state, forces = moving([argon(2)], [80.0], [1], lennard_jones(), timestep_fs)
        energies = [total_energy(state)]
        for _ in range(round(800 / timestep_fs)):
            verlet_step(state, forces, timestep_fs)
            energies.append(total_energy(state))
        return np.std(energies)

    coarse, medium, fine = (error(dt) for dt in (16.0, 8.0, 4.0))
    assert coarse / medium == pytest.approx(4, rel=0.2)
    assert medium / fine == pytest.approx(4, rel=0.2)
    assert fine < 1e-3 * BOLTZMANN_EV_PER_K * 80 * 32


def test_dynamics_runs_backwards_to_where_it_came_from():
    state, forces = moving([monoclinic_argon()], [60.0], [4], lennard_jones())
    start = state.positions_A.clone()
    for _ in range(150):
        verlet_step(state, forces, 2.0)
    there = state.positions_A.clone()
    state.velocities_A_per_fs = -state.velocities_A_per_fs
    for _ in range(150):
        verlet_step(state, forces, 2.0)
    assert float((there - start).abs().max()) > 0.3
    torch.testing.assert_close(state.positions_A, start, rtol=0, atol=1e-9)


def test_positions_forces_and_energies_are_those_of_ase_velocity_verlet():
    cell, potential = monoclinic_argon(), lennard_jones()
    state, forces = moving([cell], [70.0], [9], potential)
    atoms = cell.to_ase()
    atoms.calc = potential.calculator()
    per_fs = ACCELERATION_A_PER_FS2**0.5
    atoms.set_velocities(state.velocities_A_per_fs.numpy() / per_fs)
    ase_verlet = VelocityVerlet(atoms, timestep=2.0 * per_fs)
    assert per_fs == pytest.approx(ase.units.fs, rel=1e-6)
    for _ in range(200):
        verlet_step(state, forces, 2.0)
        ase_verlet.run(1)
    np.testing.assert_allclose(state.positions_A, atoms.positions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.forces_eV_per_A, atoms.get_forces(), rtol=0, atol=1e-9)
    assert float(state.energies_eV[0]) == pytest.approx(atoms.get_potential_energy(), rel=1e-11)
    assert float(state.kinetic_eV()[0]) == pytest.approx(atoms.get_kinetic_energy(), rel=1e-9)


def test_a_harmonic_oscillator_keeps_its_period():
    cell = argon(1)
    k = 0.5
    state = from_cells([cell], CPU)
    shift = torch.tensor([[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    state.positions_A = state.positions_A + shift
    forces = Forces(harmonic(k, cell.positions_A), state, 1.0, 1.0)
    verlet_init(state, forces)
    period_fs = 2 * np.pi * (float(state.masses_amu[0]) / (k * ACCELERATION_A_PER_FS2)) ** 0.5
    steps = 4000
    timestep = period_fs / steps
    for _ in range(steps):
        verlet_step(state, forces, timestep)
    moved = state.positions_A.numpy() - cell.positions_A
    np.testing.assert_allclose(moved, shift, rtol=0, atol=1e-6)


def test_initial_velocities_are_canonical_and_without_drift():
    cells = [argon(1)] * 400
    state = from_cells(cells, CPU)
    state.velocities_A_per_fs = thermal_velocities(state, [300.0] * 400, list(range(400)))
    momentum = state.sum_atoms(state.masses_amu[:, None] * state.velocities_A_per_fs)
    assert float(momentum.abs().max()) < 1e-13
    temperatures = state.temperature_K().numpy()
    dof = 9
    assert temperatures.mean() == pytest.approx(300, abs=4 * 300 * (2 / dof / 400) ** 0.5)
    assert temperatures.var() == pytest.approx(300**2 * 2 / dof, rel=0.35)


@pytest.mark.slow
def test_a_mace_run_is_that_of_ase_with_maces_own_calculator():
    pytest.importorskip("mace")
    from atomflow.cell import Cell
    from atomflow.potentials.mace.imports import mace_module
    from atomflow.potentials.mace.potential import from_module

    modules = mace_module("modules")
    from e3nn import o3

    torch.manual_seed(3)
    module = modules.ScaleShiftMACE(
        r_max=4.0, num_bessel=4, num_polynomial_cutoff=5, max_ell=1, num_interactions=2, num_elements=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        hidden_irreps=o3.Irreps("8x0e"), MLP_irreps=o3.Irreps("4x0e"), gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(2), avg_num_neighbors=20.0, atomic_numbers=[11, 17], correlation=2,
        atomic_inter_scale=3.0, atomic_inter_shift=0.0,
    )
    potential = from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    rows = [[3.1, 2.9, 0], [2.8, 0, 2.9], [0, -2.8, 3.0]]
    salt = Cell([11, 17], [[0, 0, 0], [2.9, 0.2, 3.0]], rows)
    state, forces = moving([salt], [600.0], [2], potential)
    atoms = salt.to_ase()
    atoms.calc = potential.calculator()
    per_fs = ACCELERATION_A_PER_FS2**0.5
    atoms.set_velocities(state.velocities_A_per_fs.numpy() / per_fs)
    ase_verlet = VelocityVerlet(atoms, timestep=2.0 * per_fs)
    start = state.forces_eV_per_A.clone()
    for _ in range(30):
        verlet_step(state, forces, 2.0)
    ase_verlet.run(30)
    assert float((state.forces_eV_per_A - start).abs().max()) > 1e-3
    np.testing.assert_allclose(state.positions_A, atoms.positions, rtol=0, atol=1e-8)
    np.testing.assert_allclose(state.forces_eV_per_A, atoms.get_forces(), rtol=0, atol=1e-8)
    assert float(state.energies_eV[0]) == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
