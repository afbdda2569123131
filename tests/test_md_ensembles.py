"""Thermostats and barostats against exact distributions."""

import numpy as np
import pytest
import scipy.stats
import torch
from md_toys import CPU, argon, harmonic, ideal_gas, lennard_jones, monoclinic_argon

from atomflow.md.barostats import frame
from atomflow.md.config import MDConfig
from atomflow.md.forces import Forces
from atomflow.md.protocols import Protocol, random_keys
from atomflow.md.state import from_cells, thermal_velocities
from atomflow.md.thermostats import nose_hoover_energy_eV, nose_hoover_init
from atomflow.units import BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA


def config(**changes):
    return MDConfig(**{"temperature_K": 300.0, "time_ps": 100.0, "timestep_fs": 2.0, **changes})


def batch(cells, configs, potential):
    state = from_cells(cells, CPU)
    targets = [c.temperature_K for c in configs]
    state.velocities_A_per_fs = thermal_velocities(state, targets, random_keys(state, configs))
    forces = Forces(potential, state, 1.0, configs[0].timestep_fs, stress=configs[0].ensemble == "npt")
    forces(state)
    return state, forces, Protocol(state, configs)


def conserved(state):
    return state.energies_eV + state.kinetic_eV() - state.heat_eV - state.work_eV


@pytest.mark.parametrize("thermostat", ["bussi", "langevin"])
def test_kinetic_energy_follows_the_canonical_distribution(thermostat):
    """Free atoms: 2K/kT is χ² with 3N − 3 degrees of freedom, mean, variance and shape."""
    configs = [config(seed=s, thermostat=thermostat, thermostat_time_fs=10.0) for s in range(40)]
    state, forces, protocol = batch([argon(1)] * 40, configs, ideal_gas())
    state.velocities_A_per_fs = 3 * state.velocities_A_per_fs  # far too hot: the start must be forgotten
    samples = []
    for step in range(1640):
        protocol.advance(state, forces)
        if step >= 40 and step % 40 == 0:  # eight relaxation times apart: independent
            samples.append(2 * state.kinetic_eV() / (BOLTZMANN_EV_PER_K * 300.0))
    drawn = torch.cat(samples).numpy()
    assert len(drawn) == 1600
    assert scipy.stats.kstest(drawn, scipy.stats.chi2(df=9).cdf).pvalue > 0.01
    assert drawn.mean() == pytest.approx(9, abs=4 * (18 / 1600) ** 0.5)
    assert drawn.var() == pytest.approx(18, rel=0.2)
    wrong = scipy.stats.kstest(drawn, scipy.stats.chi2(df=12).cdf).pvalue
    assert wrong < 1e-6


def test_langevin_samples_the_harmonic_crystal_exactly():
    """BAOAB: ⟨U⟩ = (3N − 3) kT / 2 for harmonic forces, at any stable time step."""
    cell = argon(1)
    configs = [config(seed=s, thermostat="langevin", thermostat_time_fs=100.0, timestep_fs=20.0) for s in range(40)]
    state, forces, protocol = batch([cell] * 40, configs, harmonic(2.0, np.tile(cell.positions_A, (40, 1))))
    samples = []
    for step in range(600):
        protocol.advance(state, forces)
        if step >= 100:
            samples.append(2 * state.energies_eV / (BOLTZMANN_EV_PER_K * 300.0))
    drawn = torch.stack(samples).numpy()
    error = drawn.mean(0).std(ddof=1) / 40**0.5
    assert error < 0.15
    assert drawn.mean() == pytest.approx(9, abs=4 * error)


@pytest.mark.parametrize("thermostat", ["bussi", "langevin", "nose-hoover"])
def test_energy_less_heat_is_conserved_as_well_as_nve_conserves_energy(thermostat):
    def worst(ensemble):
        configs = [config(ensemble=ensemble, temperature_K=60.0, thermostat=thermostat, thermostat_time_fs=100.0)]
        state, forces, protocol = batch([argon(2)], configs, lennard_jones(cutoff_A=6.0))
        values = [float(conserved(state)[0])]
        for _ in range(300):
            protocol.advance(state, forces)
            values.append(float(conserved(state)[0]))
        return np.ptp(values), float(state.heat_eV[0])

    nve, _ = worst("nve")
    thermostatted, heat = worst("nvt")
    assert abs(heat) > 0.01
    assert thermostatted < 5 * nve + 1e-9
    assert thermostatted < 0.01 * abs(heat)


def test_nose_hoover_conserves_the_energy_of_the_extended_system_and_holds_the_temperature():
    settings = config(temperature_K=60.0, thermostat="nose-hoover", thermostat_time_fs=100.0, timestep_fs=4.0)
    state, forces, protocol = batch([argon(2, 5.6, rattle=0.1)], [settings], lennard_jones(cutoff_A=6.0))
    nose_hoover_init(state)
    target = torch.tensor([60.0], dtype=torch.float64)

    def extended():
        return float((state.energies_eV + state.kinetic_eV() + nose_hoover_energy_eV(state, 100.0, target))[0])

    start = extended()
    temperatures = []
    for step in range(1300):
        protocol.advance(state, forces)
        assert abs(extended() - start) < 2e-3
        if step > 300:
            temperatures.append(float(state.temperature_K()[0]))
    assert np.mean(temperatures) == pytest.approx(60, abs=4)


def test_the_anisotropic_barostat_moves_all_six_cell_parameters_and_never_turns_the_box():
    configs = [config(seed=s, ensemble="npt", temperature_K=40.0, barostat_time_fs=50.0, compressibility_per_GPa=0.5)
               for s in range(2)]
    cell = monoclinic_argon()
    state, forces, protocol = batch([cell] * 2, configs, lennard_jones(cutoff_A=6.0))
    start, lattices = frame(state.lattices_A), state.lattices_A
    energy = conserved(state)
    for _ in range(100):
        protocol.advance(state, forces)
    torch.testing.assert_close(frame(state.lattices_A), start, rtol=0, atol=1e-10)
    metric = state.lattices_A @ state.lattices_A.transpose(1, 2) - lattices @ lattices.transpose(1, 2)
    assert float(metric.abs().min()) > 1e-3  # Å²: every length and angle has changed
    assert float((conserved(state) - energy).abs().max()) / 32 < 1e-4
    assert float(state.work_eV.abs().min()) > 1e-3


def test_a_ramp_ends_at_its_target_and_starts_at_its_start():
    ramp = config(temperature_K=200.0, temperature_end_K=600.0, time_ps=2.0, equilibration_ps=0.2)
    assert ramp.target_K(50) == ramp.target_K(100) == 200.0
    assert ramp.target_K(600) == pytest.approx(400.0)
    assert ramp.target_K(1100) == pytest.approx(600.0)
    configs = [ramp.model_copy(update={"seed": s, "thermostat_time_fs": 10.0}) for s in range(20)]
    state, forces, protocol = batch([argon(1)] * 20, configs, ideal_gas())
    late = []
    for step in range(1100):
        protocol.advance(state, forces)
        if step >= 1000:
            late.append(float(state.temperature_K().mean()))
    assert np.mean(late) == pytest.approx(580, rel=0.1)


@pytest.mark.parametrize(("barostat", "thermostat"), [("isotropic", "langevin"), ("anisotropic", "bussi")])
def test_the_volume_of_an_ideal_gas_has_its_exact_mean_and_variance(barostat, thermostat):
    """P(V) ∝ V^N exp(−PV/kT): ⟨V⟩ = (N + 1) kT/P and var V = (N + 1)(kT/P)²."""
    pressure_GPa, n, systems = 0.05, 4, 24
    kT_over_p = BOLTZMANN_EV_PER_K * 300.0 * EV_PER_A3_IN_GPA / pressure_GPa
    side = ((n + 1) * kT_over_p) ** (1 / 3)
    configs = [
        config(seed=s, ensemble="npt", barostat=barostat, pressure_GPa=pressure_GPa, thermostat=thermostat,
               thermostat_time_fs=20.0, barostat_time_fs=40.0, compressibility_per_GPa=1 / pressure_GPa)
        for s in range(systems)
    ]
    state, forces, protocol = batch([argon(1, side)] * systems, configs, ideal_gas())
    samples = []
    for step in range(900):
        protocol.advance(state, forces)
        if step >= 150:
            samples.append(state.volume_A3() / kT_over_p)
    drawn = torch.stack(samples).numpy()
    error = drawn.mean(0).std(ddof=1) / systems**0.5
    assert error < 0.15
    assert drawn.mean() == pytest.approx(n + 1, abs=4 * error)
    assert abs(drawn.mean() - n) > 4 * error
    assert drawn.var() == pytest.approx(n + 1, rel=0.25)


@pytest.mark.slow
def test_the_anisotropic_barostat_brings_a_monoclinic_crystal_to_its_pressure_without_turning_it():
    pressure = 0.1
    configs = [
        config(seed=s, ensemble="npt", temperature_K=40.0, pressure_GPa=pressure, thermostat_time_fs=50.0,
               barostat_time_fs=300.0, compressibility_per_GPa=0.5, timestep_fs=5.0, skin_A=0.8) for s in range(4)
    ]
    cell = monoclinic_argon()
    state, forces, protocol = batch([cell] * 4, configs, lennard_jones(cutoff_A=7.0))
    start, energies, tensors = frame(state.lattices_A), [], []
    shape = state.lattices_A.clone()
    for step in range(1200):
        protocol.advance(state, forces)
        energies.append(conserved(state).numpy())
        if step >= 500:
            tensors.append(state.pressure_tensor_eV_per_A3() * EV_PER_A3_IN_GPA)
    torch.testing.assert_close(frame(state.lattices_A), start, rtol=0, atol=1e-10)
    assert float((state.lattices_A - shape).abs().max()) > 0.05
    per_system = torch.stack(tensors).mean(0).numpy()
    error = per_system.std(0, ddof=1).max() / 2
    assert error < 0.03
    np.testing.assert_allclose(per_system.mean(0), np.eye(3) * pressure, atol=max(5 * error, 0.01))
    assert np.ptp(np.array(energies)[200:], axis=0).max() / 32 < 1e-4  # eV per atom over 5 ps


def test_different_cells_of_one_seed_have_traces_of_their_own():
    """What the thermostat did to one structure says nothing about another: their kinetic energies do not correlate."""
    alike = config(seed=1, thermostat="bussi", thermostat_time_fs=10.0)
    cells = [argon(1), argon(1, 5.5), argon(1)]
    state, forces, protocol = batch(cells, [alike] * 3, ideal_gas())
    traces = []
    for _ in range(1500):
        protocol.advance(state, forces)
        traces.append(state.kinetic_eV().numpy())
    between = np.corrcoef(np.array(traces).T)
    assert between[0, 2] == pytest.approx(1.0)  # the very same run
    assert abs(between[0, 1]) < 0.3
