"""Relaxation to known minima, and on again after a stop."""

import fcntl
import os
import signal

import numpy as np
import pytest
import torch
from md_toys import argon, lennard_jones, monoclinic_argon

from atomflow import md
from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.md import relaxation


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


# --- stopped and killed -----------------------------------------------------------------------------------------


class Counting:
    """A potential that counts what it is asked, and may break at one question."""

    def __init__(self, potential, breaks_at=None, how=None):
        self.potential, self.asked, self.breaks_at, self.how = potential, 0, breaks_at, how
        self.identity, self.device, self.dtype = potential.identity, potential.device, potential.dtype
        self.check_elements = potential.check_elements

    def batch_model(self, *arguments):
        model = self.potential.batch_model(*arguments)

        class Counted:
            needs_edges, cutoff_A, device, dtype = model.needs_edges, model.cutoff_A, self.device, self.dtype

            def __call__(_, *questions):
                self.asked += 1
                if self.asked == self.breaks_at:
                    self.how()
                return model(*questions)

        return Counted()


def kill():
    raise MemoryError("as if it had been killed")


@pytest.mark.parametrize("cell_too", [False, True])
def test_a_killed_relaxation_goes_on_and_ends_in_the_same_bits(tmp_path, cell_too):
    cell, journal = argon(2, 5.3, rattle=0.2), tmp_path / "journal"
    settings = {"cell_too": cell_too, "max_steps": 12}
    whole = Counting(lennard_jones())
    expected, result = md.relax(cell, whole, **settings)
    asked = 0
    for breaks_at in (4, 1, 5):
        broken = Counting(lennard_jones(), breaks_at, kill)
        with pytest.raises(MemoryError):
            md.relax(cell, broken, journal=journal, **settings)
        asked += broken.asked - 1
    last = Counting(lennard_jones())
    steps = []
    found, again = md.relax(cell, last, journal=journal, progress=lambda step, *_: steps.append(step), **settings)
    assert asked + last.asked == whole.asked  # nothing was asked twice
    assert again == result
    assert found.sha256 == expected.sha256
    assert steps == list(range(13))
    assert not journal.exists()


def test_out_of_memory_is_one_line_that_says_what_to_do():
    def full():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(RunFailed, match="out of GPU memory while relaxing 4 atoms; take a GPU with more memory"):
        md.relax(argon(1, rattle=0.1), Counting(lennard_jones(), 2, full))


def test_a_signal_stops_a_relaxation_that_has_a_journal(tmp_path):
    cell, journal = argon(2, 5.3, rattle=0.2), tmp_path / "journal"

    def stop(step, *_):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped, match=r"stopped by SIGTERM at step [34]; the same command goes on"):
        md.relax(cell, lennard_jones(), progress=stop, journal=journal)
    rest = Counting(lennard_jones())
    found, result = md.relax(cell, rest, journal=journal)
    assert rest.asked < result.steps - 1
    assert found.sha256 == md.relax(cell, lennard_jones())[0].sha256


def test_a_journal_of_something_else_or_with_a_damaged_end_does_no_harm(tmp_path):
    cell, journal = argon(2, 5.3, rattle=0.2), tmp_path / "journal"
    expected, _ = md.relax(cell, lennard_jones())

    def begun(whose):
        with pytest.raises(MemoryError):
            md.relax(whose, Counting(lennard_jones(), 6, kill), journal=journal)
        return journal.read_bytes()

    begun(argon(2, 5.35, rattle=0.1))
    assert md.relax(cell, lennard_jones(), journal=journal)[0].sha256 == expected.sha256
    content = begun(cell)
    for damaged in (content[:-5], content[:-5] + b"12345", content + b"afrj", b"", b"no journal at all"):
        journal.write_bytes(damaged)
        rest = Counting(lennard_jones())
        assert md.relax(cell, rest, journal=journal)[0].sha256 == expected.sha256
    journal.write_bytes(content)
    with open(journal, "ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is relaxing this structure"):
            md.relax(cell, lennard_jones(), journal=journal)
    assert journal.read_bytes() == content


def test_atoms_that_fall_into_one_another_are_no_result(monkeypatch):
    """A spring of no length: learned potentials, too, may fall towards zero distance where they never were."""
    from ase.calculators.calculator import Calculator, all_changes

    from atomflow.potentials import ase_calculator

    class Hole(Calculator):
        implemented_properties = ("energy", "forces")

        def __init__(self, potential):
            super().__init__()
            self.potential = potential

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            apart = atoms.positions[1] - atoms.positions[0]
            self.results = {"energy": apart @ apart, "forces": 2 * np.array([apart, -apart])}

    monkeypatch.setattr(ase_calculator, "BatchCalculator", Hole)
    pair = Cell(np.array([18, 18]), np.array([[0.0, 0, 0], [3.8, 0, 0]]), np.eye(3) * 12)
    with pytest.raises(RunFailed, match=r"Ar \(atom 0\) and Ar \(atom 1\) to 0\.\d\d Å from one another"):
        md.relax(pair, lennard_jones())


def test_steps_are_short_while_forces_are_large(monkeypatch):
    """No atom of a crowded cell moves by more than 0.05 Å at once; where forces are small, steps are longer."""
    crowded, places, forces = argon(2, 4.7, rattle=0.35), [], []
    real = relaxation._energy_and_fmax

    def looked(atoms):
        energy, fmax = real(atoms)
        places.append(atoms.positions.copy())
        forces.append(fmax)
        return energy, fmax

    monkeypatch.setattr(relaxation, "_energy_and_fmax", looked)
    md.relax(crowded, lennard_jones(), fmax_eV_per_A=1e-3)
    steps = np.linalg.norm(np.diff(places, axis=0), axis=2).max(axis=1)
    while_crowded = np.array(forces[:-1]) > 2.0
    assert while_crowded[1:].any()
    assert steps[while_crowded].max() <= 0.05 + 1e-9
    assert steps[~while_crowded].max() > 0.05
