"""Relaxing with the normal free, taking interfaces apart, and their energies, against bonds counted by hand."""


import numpy as np
import pytest
from interface_toys import (
    A_A,
    BRIDGE,
    BRIDGE_EV_PER_A2,
    BRIDGE_GAP_A,
    EPSILON_EV,
    bicrystal,
    bonds_only,
    fcc,
    slab,
)

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.units import EV_PER_A2_IN_J_PER_M2

pytest.importorskip("torch")

from atomflow.interfaces.energy import boundary_energy, surface_energy, with_thicker
from atomflow.interfaces.relaxing import Batch, FreeNormal, energies_eV, relax_many
from atomflow.interfaces.sides import crystals_of, sides, thickened

BASIS_A = fcc(1)


@pytest.fixture(scope="module")
def potential():
    return bonds_only()


# --- relaxing with the normal free --------------------------------------------------------------------------------


def test_forces_on_the_third_vector_are_the_slope_of_the_energy(potential):
    rng = np.random.default_rng(4)
    cell = bicrystal((0.4, 0.9), 0.3)
    atoms = cell.to_ase()
    free, batch = FreeNormal(atoms), Batch(potential)
    start = free.get_positions() + 0.05 * rng.standard_normal((len(cell) + 1, 3))
    free.set_positions(start)
    np.testing.assert_allclose(free.get_positions(), start, atol=1e-12)
    batch.evaluate([atoms])
    forces = free.get_forces()
    for direction in (rng.standard_normal(start.shape), np.eye(1, 3 * len(start), 3 * len(start) - 1).reshape(-1, 3)):
        energy = []
        for step in (1e-5, -1e-5):
            free.set_positions(start + step * direction)
            batch.evaluate([atoms])
            energy.append(atoms.get_potential_energy())
        slope = (energy[0] - energy[1]) / 2e-5
        assert slope == pytest.approx(-(forces * direction).sum(), rel=1e-5)


def test_cells_evaluated_together_are_each_evaluated_alone(potential):
    cells = [bicrystal((0.4, 0.9), 0.3), bicrystal((0.2, 0.1), 0.5, layers=3), slab()]
    together, batch = [cell.to_ase() for cell in cells], Batch(potential)
    batch._group(together, stress=True)  # what a GPU does at once
    for cell, frame in zip(cells, together, strict=True):
        alone = cell.to_ase()
        Batch(potential).evaluate([alone])
        assert frame.get_potential_energy() == pytest.approx(alone.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(frame.get_forces(), alone.get_forces(), atol=1e-10)
        np.testing.assert_allclose(frame.get_stress(), alone.get_stress(), atol=1e-12)


def test_many_cells_relax_as_each_alone_and_none_is_changed(potential):
    cells = [bicrystal((0.4, 0.9), 0.3), bicrystal((0.0, 0.0), 0.2, layers=3)]
    before = [cell.sha256 for cell in cells]
    together = relax_many(cells, potential, True, 1e-4, 200)
    for cell, one in zip(cells, together, strict=True):
        alone = relax_many([cell], potential, True, 1e-4, 200)[0]
        assert alone.energy_eV == pytest.approx(one.energy_eV, abs=1e-9)
        assert one.converged
        np.testing.assert_allclose(one.cell.lattice_A[:2], cell.lattice_A[:2])
    assert [cell.sha256 for cell in cells] == before
    with pytest.raises(InputError, match="not relaxed since"):
        crystals_of(together[0].cell)
    # grains a fifth of an angstrom apart close up to the crystal again
    assert together[1].cell.lattice_A[2, 2] == pytest.approx(6 * A_A, abs=1e-2)


# --- taking apart -------------------------------------------------------------------------------------------------


def test_a_boundary_is_put_together_as_it_was(potential):
    cell = bicrystal((1.1, 0.3), 0.7)
    taken = sides(cell)
    again = taken.joined(taken.translations_A, taken.gaps_A)
    assert energies_eV([again], potential)[0] == pytest.approx(energies_eV([cell], potential)[0], abs=1e-9)
    crystals = crystals_of(cell)
    assert [len(c) for c in crystals] == [8, 8]
    assert energies_eV(crystals, potential) == pytest.approx([-6 * 8 * EPSILON_EV] * 2, abs=1e-9)
    thick = thickened(cell)
    assert len(thick) == 2 * len(cell)
    assert energies_eV([thick], potential)[0] == pytest.approx(
        energies_eV([cell], potential)[0] - 6 * 16 * EPSILON_EV, abs=1e-9)  # fmt: skip


@pytest.mark.parametrize(("plane", "kind"), [
    ((1, 0, 1), "mirror"),
    pytest.param((1, 0, 0), "tilt", marks=pytest.mark.slow),
    pytest.param((1, 1, 1), "shift", marks=pytest.mark.slow),
])  # fmt: skip
def test_real_boundaries_come_apart_and_their_crystals_are_the_crystal(plane, kind):
    """With a potential as judge: the same energy put together again, the crystal's energy for each unstrained grain."""
    pytest.importorskip("mace")
    from atomflow import potentials
    from atomflow.build.boundary import build_boundary
    from atomflow.build.nzsp import build_nzsp

    student = potentials.load("atomflow-nzsp-0", device="cpu")
    cell, bulk = build_boundary(plane, kind, grain_thickness=7.0), build_nzsp(primitive=True)
    taken = sides(cell)
    parts = crystals_of(cell)
    again = taken.joined(taken.translations_A, taken.gaps_A)
    found = energies_eV([cell, again, thickened(cell), bulk, *parts], student)
    assert found[1] == pytest.approx(found[0], abs=2e-3)
    assert found[2] == pytest.approx(found[0] + found[4] + found[5], abs=2e-3)
    assert found[4] / len(parts[0]) == pytest.approx(found[3] / len(bulk), abs=1e-5)
    if cell.provenance["strain"] < 1e-6:
        assert found[5] / len(parts[1]) == pytest.approx(found[3] / len(bulk), abs=1e-5)


# --- energies -----------------------------------------------------------------------------------------------------


def test_a_boundary_energy_is_the_bonds_it_lacks(potential):
    found = boundary_energy(bicrystal(BRIDGE, BRIDGE_GAP_A + 0.05), potential, fmax_eV_per_A=1e-5)
    assert found.converged
    assert found.energy_eV_per_A2 == pytest.approx(BRIDGE_EV_PER_A2, rel=1e-5)
    assert found.energy_J_per_m2 == pytest.approx(BRIDGE_EV_PER_A2 * EV_PER_A2_IN_J_PER_M2, rel=1e-5)
    assert found.excess_volume_A == pytest.approx(BRIDGE_GAP_A, abs=1e-3)
    thick = with_thicker(found, bicrystal(BRIDGE, BRIDGE_GAP_A), potential, fmax_eV_per_A=1e-5)
    assert thick.thickness_error_J_per_m2 == pytest.approx(0, abs=1e-6)


def test_a_surface_energy_is_half_the_bonds_cut(potential):
    """Four bonds an atom cut, two atoms in a², shared by two surfaces: 4 ε / a²."""
    found = surface_energy(slab(), potential, fmax_eV_per_A=1e-5)
    assert found.energy_eV_per_A2 == pytest.approx(4 * EPSILON_EV / A_A**2, rel=1e-6)
    assert found.excess_volume_A is None
    thick = with_thicker(found, slab(), potential, fmax_eV_per_A=1e-5)
    assert thick.thicker_J_per_m2 == pytest.approx(found.energy_J_per_m2, rel=1e-6)


def test_a_cell_built_elsewhere_needs_its_crystal_and_the_price_of_what_it_has_too_much(potential):
    cell = bicrystal(BRIDGE, BRIDGE_GAP_A)
    foreign = Cell(cell.numbers, cell.positions_A, cell.lattice_A)
    crystal = Cell([18] * 4, BASIS_A, np.eye(3) * A_A)
    with pytest.raises(InputError, match="not a bare boundary"):
        boundary_energy(foreign, potential)
    found = boundary_energy(foreign, potential, crystal, fmax_eV_per_A=1e-5)
    assert found.energy_eV_per_A2 == pytest.approx(BRIDGE_EV_PER_A2, rel=1e-5)
    assert found.excess_volume_A == pytest.approx(BRIDGE_GAP_A, abs=1e-3)
    numbers = np.array(cell.numbers)
    numbers[0] = 36
    doped = Cell(numbers, cell.positions_A, cell.lattice_A)
    with pytest.raises(InputError, match="holds 1 Kr beyond whole formula units"):
        boundary_energy(doped, potential, crystal)
    paid = boundary_energy(doped, potential, crystal, 1e-5, 300, {"Kr": -6 * EPSILON_EV})
    assert paid.energy_eV_per_A2 == pytest.approx(BRIDGE_EV_PER_A2, rel=1e-5)
    assert "1 Kr, Kr at" in paid.excess
