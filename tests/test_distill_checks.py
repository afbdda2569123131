"""Checks beyond force errors, on potentials whose answers are known."""

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from atomflow.distill import checks


class DoubleWell(Calculator):
    """One atom between wells at x = 4 and x = 6 with a barrier of 0.3 eV at x = 5; harmonic in y and z."""

    implemented_properties = ("energy", "forces")
    barrier_eV = 0.3

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = (atoms.positions[0] - 5.0)
        well = self.barrier_eV * (x**2 - 1) ** 2 + 2.0 * (y**2 + z**2)
        forces = np.zeros((len(atoms), 3))
        forces[0] = [-4 * self.barrier_eV * x * (x**2 - 1), -4.0 * y, -4.0 * z]
        self.results = {"energy": well, "forces": forces}


class Leaking(LennardJones):
    """Forces 2 % too weak for the energy: a model that does not conserve energy."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] * 0.98 + 0.0


def crystal() -> ase.Atoms:
    return bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2)


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=5.3, smooth=True)


def test_barrier_of_a_double_well_is_found_from_a_poor_start():
    def image(x: float, y: float) -> ase.Atoms:
        return ase.Atoms("NaAr", positions=[[x, y, 5.0], [1.0, 1.0, 1.0]], cell=[10, 10, 10], pbc=True)

    path = [image(3.9, 5.2), *(image(x, 5.6) for x in (4.5, 5.0, 5.5)), image(6.2, 4.9)]
    found, images = checks.barrier_eV(path, DoubleWell(), fmax_eV_per_A=0.01, steps=200)
    assert found["forward_eV"] == pytest.approx(0.3, abs=0.003)
    assert found["backward_eV"] == pytest.approx(0.3, abs=0.003)
    assert images[0].positions[0, 0] == pytest.approx(4.0, abs=0.03)
    assert path[0].positions[0, 0] == 3.9  # what was given is not touched


def test_conserved_energy_does_not_drift_and_a_leak_shows():
    good = checks.energy_drift(crystal(), lennard_jones(), 30.0, 1.0, timestep_fs=2.0)
    bad = checks.energy_drift(crystal(), Leaking(sigma=3.4, epsilon=0.0104, rc=5.3, smooth=True), 30.0, 1.0,
                              timestep_fs=2.0)
    assert abs(good["drift_meV_per_atom_per_ps"]) < 0.003
    assert bad["scatter_meV_per_atom"] > 4 * good["scatter_meV_per_atom"]
    assert 15 < good["temperature_K"] < 45


def test_crystal_comes_to_rest_where_its_potential_wants_it():
    from ase.eos import EquationOfState

    volumes, energies = [], []
    for a in np.linspace(5.1, 5.5, 9):
        atoms = bulk("Ar", "fcc", a=a, cubic=True).repeat(2)
        atoms.calc = lennard_jones()
        volumes.append(atoms.get_volume() / 32)
        energies.append(atoms.get_potential_energy() / 32)
    best = EquationOfState(volumes, energies).fit()[0]
    found = checks.rest(crystal(), lennard_jones(), fmax_eV_per_A=0.001)
    assert found["volume_A3_per_atom"] == pytest.approx(best, rel=3e-3)
    assert found["largest_force_eV_per_A"] < 0.001


def test_a_whole_crystal_stays_whole():
    found = checks.stays_whole(crystal(), lennard_jones(), 20.0, 1.0, timestep_fs=5.0)
    assert found["time_ps"] == pytest.approx(1.0)
    assert found["highest_temperature_K"] < 40


def test_bond_lengths_count_the_nearest_oxygens():
    silica = ase.Atoms("SiO4", positions=[[5, 5, 5], [6.6, 5, 5], [5, 6.6, 5], [5, 5, 6.6], [3.4, 5, 5]],
                       cell=[10, 10, 10], pbc=True)
    assert checks.bond_lengths_A(silica) == {"Si-O": pytest.approx(1.6)}
