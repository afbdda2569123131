"""Energy drift and hop barriers of the card, on potentials whose answers are known."""

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from atomflow.distill import operations
from atomflow.distill.card_checks.drift import energy_drift


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
    """Both ends relax into their wells first, and what was given is not touched."""

    def image(x: float, y: float) -> dict:
        return {"numbers": [11, 18], "positions_A": [[x, y, 5.0], [1.0, 1.0, 1.0]], "lattice_A": np.eye(3) * 10}

    ends = [image(3.9, 5.2), image(6.2, 4.9)]
    asked = {"operation": "band", "cells": ends, "settings": {"fmax_eV_per_A": 0.01, "steps": 200}}
    found = operations.perform(asked, DoubleWell())
    assert found["forward_eV"] == pytest.approx(0.3, abs=0.003)
    assert found["backward_eV"] == pytest.approx(0.3, abs=0.003)
    assert found["cells"][0]["positions_A"][0][0] == pytest.approx(4.0, abs=0.03)
    assert ends[0]["positions_A"][0][0] == 3.9


def test_conserved_energy_does_not_drift_and_a_leak_shows():
    good = energy_drift(crystal(), lennard_jones(), 30.0, 1.0, timestep_fs=2.0)
    bad = energy_drift(crystal(), Leaking(sigma=3.4, epsilon=0.0104, rc=5.3, smooth=True), 30.0, 1.0,
                       timestep_fs=2.0)
    assert abs(good["drift_meV_per_atom_per_ps"]) < 0.003
    assert bad["scatter_meV_per_atom"] > 4 * good["scatter_meV_per_atom"]
    assert 15 < good["temperature_K"] < 45
