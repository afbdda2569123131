"""Atoms that are held: against ASE's FixAtoms, and against the distribution that the others must have."""

import os
import signal

import ase.units
import numpy as np
import pytest
import scipy.stats
import torch
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from md_toys import CPU, argon, ideal_gas, lennard_jones

from atomflow import md, runs
from atomflow.cell import Cell
from atomflow.errors import InputError, RunStopped
from atomflow.md.config import MDConfig
from atomflow.md.forces import Forces
from atomflow.md.protocols import Protocol
from atomflow.md.state import from_cells, thermal_velocities
from atomflow.units import BOLTZMANN_EV_PER_K


def half_held(n=2, rattle=0.15):
    """Argon of which the lower half is called grain_a."""
    cell = argon(n, 5.4, rattle)
    regions = np.where(cell.positions_A[:, 2] < 0.45 * cell.lattice_A[2, 2], "grain_a", "glass")
    return Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions)


def config(**changes):
    return MDConfig(**{"temperature_K": 90.0, "time_ps": 0.4, "timestep_fs": 2.0, "checkpoint_interval_ps": 0.1,
                       "held_regions": ("grain_a",), **changes})


def test_dynamics_with_held_atoms_are_those_of_ase_with_fixatoms():
    cell, potential, settings = half_held(), lennard_jones(cutoff_A=5.0), config(ensemble="nve")
    state = from_cells([cell], CPU, settings.held_regions)
    state.velocities_A_per_fs = thermal_velocities(state, [90.0], [3])
    atoms = cell.to_ase()
    atoms.set_constraint(FixAtoms(mask=cell.regions == "grain_a"))
    atoms.calc = potential.calculator()
    atoms.set_velocities(state.velocities_A_per_fs.numpy() / ase.units.fs)
    forces, protocol = Forces(potential, state, 1.0, 2.0), Protocol(state, [settings])
    forces(state)
    for _ in range(200):
        protocol.advance(state, forces)
    VelocityVerlet(atoms, timestep=2.0 * ase.units.fs).run(200)
    np.testing.assert_allclose(state.positions_A.numpy(), atoms.positions, rtol=0, atol=1e-7)
    held = cell.regions == "grain_a"
    assert 0 < held.sum() < len(cell)
    np.testing.assert_array_equal(state.positions_A.numpy()[held], cell.positions_A[held])
    assert np.linalg.norm(state.positions_A.numpy() - cell.positions_A, axis=1)[~held].min() > 0.01
    assert float(state.temperature_K()[0]) == pytest.approx(atoms.get_temperature(), rel=1e-6)


@pytest.mark.parametrize("thermostat", ["bussi", "langevin", "nose-hoover"])
def test_the_free_atoms_have_three_degrees_of_freedom_each(thermostat):
    """Free atoms beside held ones: 2K/kT is χ² with 3 n degrees of freedom, no centre of mass taken off."""
    cell = argon(1)
    regions = ["grain_a", "glass", "glass", "glass"]
    cells = [Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions)] * 40
    configs = [config(seed=s, thermostat=thermostat, thermostat_time_fs=10.0, temperature_K=300.0) for s in range(40)]
    state = from_cells(cells, CPU, ("grain_a",))
    assert state.degrees_of_freedom.tolist() == [9.0] * 40
    state.velocities_A_per_fs = thermal_velocities(state, [300.0] * 40, list(range(40)))
    first = (2 * state.kinetic_eV() / (BOLTZMANN_EV_PER_K * 300.0)).numpy()
    assert scipy.stats.kstest(first, scipy.stats.chi2(df=9).cdf).pvalue > 0.01
    forces, protocol = Forces(ideal_gas(), state, 1.0, 2.0), Protocol(state, configs)
    forces(state)
    samples = []
    for step in range(640):
        protocol.advance(state, forces)
        if step >= 40 and step % 40 == 0:
            samples.append(2 * state.kinetic_eV() / (BOLTZMANN_EV_PER_K * 300.0))
    drawn = torch.cat(samples).numpy()
    assert drawn.mean() == pytest.approx(9, abs=4 * (18 / len(drawn)) ** 0.5)
    if thermostat != "nose-hoover":  # a chain alone does not mix free particles
        assert scipy.stats.kstest(drawn, scipy.stats.chi2(df=9).cdf).pvalue > 0.01
    np.testing.assert_array_equal(state.velocities_A_per_fs.numpy()[::4], 0.0)


def test_a_run_with_held_atoms_keeps_them_and_conserves_energy_and_resumes(tmp_path):
    cell, potential = half_held(), lennard_jones(cutoff_A=5.0)
    manifest = md.run(cell, potential, config(equilibration_ps=0.2), tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    frames = run.positions_A(0, run.n_frames)
    held = cell.regions == "grain_a"
    np.testing.assert_allclose(frames[:, held], np.broadcast_to(cell.positions_A[held], frames[:, held].shape),
                               rtol=0, atol=1e-4)
    assert np.ptp(frames[:, ~held], axis=0).max() > 0.1
    conserved = run.thermo()["conserved_energy_eV"]
    assert np.ptp(conserved) < 0.002
    assert manifest["config"]["held_regions"] == ["grain_a"]
    assert MDConfig.from_dump(manifest["config"]) == config(equilibration_ps=0.2)

    def stop(moment):
        if moment.step >= 150:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped):
        md.run(cell, potential, config(equilibration_ps=0.2), tmp_path / "cut", progress=stop)
    md.resume(tmp_path / "cut", potential)
    again = runs.open_run(tmp_path / "cut")
    np.testing.assert_array_equal(again.positions_A(0, again.n_frames), frames)


@pytest.mark.parametrize(("changes", "words"), [
    ({"held_regions": ("metal",)}, "no region metal, only glass, grain_a"),
    ({"held_regions": ("grain_a", "glass")}, "leave no atom that may move"),
])
def test_regions_that_cannot_be_held_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        md.run(half_held(), lennard_jones(cutoff_A=5.0), config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_moving_cell_and_held_atoms_do_not_go_together():
    with pytest.raises(InputError, match="npt moves every atom with the cell"):
        MDConfig.from_dump({"ensemble": "npt", "temperature_K": 300, "time_ps": 1.0, "held_regions": ["glass"]})
