"""Relaxation to known minima."""

import numpy as np
import pytest
from md_toys import argon, lennard_jones, monoclinic_argon

from atomflow import md
from atomflow.errors import InputError, RunFailed


def test_a_rattled_crystal_relaxes_to_the_perfect_one_and_is_not_changed_itself():
    potential, cell = lennard_jones(), argon(2, 5.3, rattle=0.2)
    before = cell.sha256
    relaxed, result = md.relax(cell, potential, fmax_eV_per_A=1e-5)
    perfect = md.relax(argon(2, 5.3), potential)[1]
    assert cell.sha256 == before
    assert result.converged
    assert result.energy_after_eV == pytest.approx(perfect.energy_after_eV, abs=1e-6)
    assert result.energy_before_eV > result.energy_after_eV
    assert result.fmax_eV_per_A < 1e-5
    assert result.stress_GPa is None
    np.testing.assert_array_equal(relaxed.lattice_A, cell.lattice_A)
    assert relaxed.provenance["relaxed"]["potential_sha256"] == potential.identity.sha256


def test_cell_relaxation_takes_the_stress_away_and_finds_the_cubic_lattice_constant():
    potential = lennard_jones(cutoff_A=6.0)
    relaxed, result = md.relax(monoclinic_argon(rattle=0.05), potential, cell_too=True, fmax_eV_per_A=1e-4)
    assert result.converged
    assert np.abs(result.stress_GPa).max() < 1e-3
    energies = {a: md.relax(argon(2, a), potential)[1].energy_after_eV for a in (5.22, 5.25, 5.28, 5.31, 5.34)}
    curve = np.polyfit(list(energies), list(energies.values()), 2)
    best = -curve[1] / (2 * curve[0])
    assert relaxed.volume_A3 == pytest.approx((2 * best) ** 3, rel=2e-3)
    assert result.energy_after_eV == pytest.approx(np.polyval(curve, best), abs=1e-3)


def test_what_does_not_converge_says_so_and_still_comes_back():
    seen = []
    relaxed, result = md.relax(argon(2, 5.3, rattle=0.3), lennard_jones(), fmax_eV_per_A=1e-6, max_steps=3,
                               progress=lambda *moment: seen.append(moment))
    assert not result.converged
    assert result.steps == 3
    assert result.energy_after_eV < result.energy_before_eV
    assert len(relaxed) == 32
    assert [step for step, _, _ in seen][-1] == 3


def test_settings_and_cells_that_cannot_be_relaxed():
    with pytest.raises(InputError, match="positive"):
        md.relax(argon(1), lennard_jones(), fmax_eV_per_A=0)
    cell = argon(1)
    double = type(cell)(cell.numbers, np.repeat(cell.positions_A[:1], 4, 0), cell.lattice_A)
    with pytest.raises(RunFailed, match="overlapping"):
        md.relax(double, lennard_jones())
