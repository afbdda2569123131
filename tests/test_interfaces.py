"""Boundary and surface energies, the search, and adhesion, against bonds counted by hand."""

import json

import numpy as np
import pytest
from interface_toys import A_A, BOND_A, EPSILON_EV, bicrystal, bonds_only, fcc, slab

from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError, RunStopped
from atomflow.units import EV_PER_A2_IN_J_PER_M2

pytest.importorskip("torch")

from atomflow.interfaces.energy import boundary_energy, surface_energy, with_thicker
from atomflow.interfaces.relaxing import Batch, FreeNormal, energies_eV, relax_many
from atomflow.interfaces.sides import crystals_of, sides, thickened
from atomflow.interfaces.translation import SearchConfig, grid, search

#: On a bridge an atom of (001) fcc has two bonds across in place of four, and stands higher.
BRIDGE = (BOND_A / np.sqrt(8), BOND_A / np.sqrt(8))
BRIDGE_GAP_A = BOND_A * (np.sqrt(3) / 2 - np.sqrt(0.5))
#: Two bonds an atom lost, two atoms in a²: 4 ε / a².
BRIDGE_EV_PER_A2 = 4 * EPSILON_EV / A_A**2


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


BASIS_A = fcc(1)


# --- search -------------------------------------------------------------------------------------------------------

QUICK = SearchConfig.model_validate({"shortlist": 4, "short_steps": 5, "finalists": 2, "fmax_eV_per_A": 1e-3})


def test_the_search_finds_the_crystal_again(potential, tmp_path):
    """The lowest stacking of two pieces of one crystal is the crystal: no boundary energy, no excess volume."""
    found = search(bicrystal((1.1, 0.3), 0.9), potential, tmp_path, QUICK)
    assert found.alike
    assert found.energy_eV == pytest.approx(-6 * 16 * EPSILON_EV, abs=1e-3)
    assert found.cell.lattice_A[2, 2] == pytest.approx(4 * A_A, abs=0.02)
    assert found.n_scanned == 2 * len(grid(np.eye(2) * A_A, 1.0))
    assert read_cell(tmp_path / "best.extxyz").sha256 == found.cell.sha256


def test_a_search_killed_anywhere_goes_on_to_the_same_answer(potential, tmp_path):
    cell = bicrystal((1.1, 0.3), 0.9)
    whole = search(cell, potential, tmp_path / "whole", QUICK)
    asked = 0

    def after(n):
        def stop():
            nonlocal asked
            asked += 1
            return asked % n == 0

        return stop

    stops = 0
    for n in (3, 7, 2, 11, 20, 30, 60, 200, 10**6):
        try:
            found = search(cell, potential, tmp_path / "cut", QUICK, stop=after(n))
            break
        except RunStopped:
            stops += 1
            with (tmp_path / "cut" / "journal.jsonl").open("a") as file:
                file.write('{"key": "scan-0-0", "val')  # a line that a kill cut off
    assert stops >= 3
    assert found.energy_eV == pytest.approx(whole.energy_eV, abs=1e-3)
    assert found.finalists[0]["translations_A"] == whole.finalists[0]["translations_A"]
    with pytest.raises(InputError, match="holds another search"):
        search(bicrystal((1.0, 0.3), 0.9), potential, tmp_path / "cut", QUICK)


@pytest.mark.slow
def test_the_energy_of_a_searched_boundary_is_the_same_from_its_file(tmp_path):
    """From the search itself, and from best.extxyz alone, whose grains are built anew for the reference."""
    pytest.importorskip("mace")
    from atomflow import potentials
    from atomflow.build.boundary import build_boundary

    student = potentials.load("atomflow-nzsp-0", device="cpu")
    start = build_boundary((1, 0, 1), "mirror", grain_thickness=7.0)
    coarse = SearchConfig.model_validate({"grid_A": 4.0, "extra_gaps_A": (0.2,), "shortlist": 1, "short_steps": 2,
                                          "finalists": 1, "max_steps": 60})  # fmt: skip
    found = search(start, student, tmp_path, coarse)
    direct = boundary_energy(found.cell, student, max_steps=60, built=found.built)
    again = boundary_energy(read_cell(tmp_path / "best.extxyz"), student, max_steps=60)
    assert again.energy_J_per_m2 == pytest.approx(direct.energy_J_per_m2, abs=2e-3)
    assert 0 < direct.energy_J_per_m2 < 3
    with pytest.raises(InputError, match="cut from another crystal"):
        boundary_energy(build_again(found.cell), student)


def build_again(cell):
    """A relaxed cell whose plane was stretched."""
    return Cell(cell.numbers, cell.positions_A * [1.01, 1, 1], cell.lattice_A * [1.01, 1, 1], cell.regions, cell.sites,
                cell.provenance)  # fmt: skip


def test_what_cannot_be_searched_is_refused(potential, tmp_path):
    with pytest.raises(InputError, match="kind shift"):
        search(bicrystal((1.1, 0.3), 0.9, kind="shift"), potential, tmp_path)
    with pytest.raises(InputError, match="not a bare boundary"):
        search(slab(), potential, tmp_path)
    with pytest.raises(InputError, match="as atomflow build wrote it"):
        crystals_of(Cell([18], [[0, 0, 0]], np.eye(3) * 5))


def test_commands(tmp_path, capsys):
    gb = tmp_path / "gb.extxyz"
    write_cell(bicrystal((1.1, 0.3), 0.9), gb)
    lj = ["-p", "lennard-jones-argon"]
    assert run(["interface", "search", str(gb), *lj, "-o", str(tmp_path / "s"), "--shortlist", "2", "--finalists", "1",
                "--max-steps", "30", "--json"]) == 0  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert printed["alike"]
    assert printed["energy"]["n"] == 2
    assert json.loads((tmp_path / "s" / "search.json").read_text())["energy_eV"] == printed["energy_eV"]
    flat = tmp_path / "slab.extxyz"
    write_cell(slab(), flat)
    assert run(["interface", "energy", str(flat), *lj, "--thicker"]) == 0
    out = capsys.readouterr().out
    assert "surface energy" in out
    assert "twice as thick" in out
    for wrong, words in ((["energy", str(tmp_path / "none")], "no file"),
                         (["energy", str(gb), "--mu", "Na:1"], "Na=-1.31"),
                         (["search", str(flat), "-o", str(tmp_path / "t")], "not a bare boundary"),
                         (["search", str(gb), "-o", str(tmp_path / "s")], "holds another search"),
                         (["search", str(gb), "-o", str(tmp_path / "u"), "--grid-a", "0"], "grid_A")):  # fmt: skip
        assert run(["interface", *wrong, *lj]) == 2
        err = capsys.readouterr().err.strip().splitlines()
        assert words in err[-1]


# --- adhesion -----------------------------------------------------------------------------------------------------


def _as_metal(cell, **facts):
    n = cell.provenance["atoms_of_grain_a"]
    regions = np.where(np.arange(len(cell)) < n, "grain_a", "metal")
    more = {"metal_atoms": len(cell) - n, **facts}
    return Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions, None, {**cell.provenance, **more})


def test_adhesion_is_the_bonds_across(potential):
    """Four bonds an atom across in the crystal, two on a bridge; two atoms in a²."""
    from atomflow.interfaces.separation import adhesion

    for shift, gap, bonds in (((0.0, 0.0), 0.0, 4), (BRIDGE, BRIDGE_GAP_A, 2)):
        for cell in (bicrystal(shift, gap), _as_metal(bicrystal(shift, gap), strain=0.02)):
            found = adhesion(cell, potential, fmax_eV_per_A=1e-5)
            assert found.n_interfaces == 2
            assert found.rigid_eV_per_A2 == pytest.approx(2 * bonds * EPSILON_EV / A_A**2, rel=1e-6)
            assert found.relaxed_eV_per_A2 == pytest.approx(found.rigid_eV_per_A2, rel=1e-6)
    assert "strained by 2.0 %" in found.reference
    assert set(found.parts) == {"solid", "metal"}


def test_adhesion_with_a_vacuum_counts_one_interface_wherever_the_parts_lie(potential):
    from atomflow.interfaces.separation import adhesion

    base = bicrystal((0.0, 0.0), 0.0)
    lattice = base.lattice_A.copy()
    lattice[2] = [0.7, -0.4, lattice[2, 2] + 14]
    for lift in (0.0, 5.0, 17.0, -9.0):
        positions = base.positions_A + np.array([0.3, 0.1, lift])
        wrapped = (positions @ np.linalg.inv(lattice) % 1.0) @ lattice
        cell = _as_metal(Cell(base.numbers, wrapped, lattice, None, None, base.provenance))
        found = adhesion(cell, potential, relax_parts=False, relax_first=False)
        assert found.n_interfaces == 1
        assert found.rigid_eV_per_A2 == pytest.approx(8 * EPSILON_EV / A_A**2, rel=1e-6)
        assert found.relaxed_J_per_m2 is None


def test_the_parts_of_real_interfaces_are_found():
    pytest.importorskip("pymatgen")
    from atomflow.build.boundary import build_boundary
    from atomflow.build.contact import build_contact
    from atomflow.build.sealed import build_sealed
    from atomflow.interfaces.separation import apart, parts_of

    sealed = build_sealed(build_boundary((1, 1, 0), "mirror"), film=8.0, na_uptake=0.3)
    parts = parts_of(sealed)
    assert [part.name for part in parts] == ["grain a", "film 1", "grain b", "film 2"]
    assert sum(part.atoms.sum() for part in parts) == len(sealed)
    opened, n = apart(sealed, parts, 12.0)
    assert n == 4
    assert opened.lattice_A[2, 2] == pytest.approx(sealed.lattice_A[2, 2] + 48)
    for options, n_interfaces in (({}, 2), ({"vacuum": 15.0}, 1)):
        contact = build_contact(**options)
        assert apart(contact, parts_of(contact), 12.0)[1] == n_interfaces


def test_adhesion_needs_two_parts(potential, tmp_path, capsys):
    from atomflow.interfaces.separation import adhesion

    with pytest.raises(InputError, match="not a bare boundary"):
        adhesion(slab(), potential)
    only = Cell([18] * 4, BASIS_A, np.eye(3) * A_A, np.full(4, "metal"))
    with pytest.raises(InputError, match="one part only"):
        adhesion(only, potential)
    path = tmp_path / "gb.extxyz"
    write_cell(bicrystal((0.0, 0.0), 0.1), path)
    assert run(["interface", "adhesion", str(path), "-p", "lennard-jones-argon", "--max-steps", "3"]) == 0
    assert "work of adhesion, mean of 2" in capsys.readouterr().out
    write_cell(slab(), path)
    assert run(["interface", "adhesion", str(path), "-p", "lennard-jones-argon"]) == 2


# --- beside DFT ---------------------------------------------------------------------------------------------------


def test_published_energies_were_converted_once():
    """Stored eV/Å² times 16.02 is what the reference states in J/m², and the order is that of the paper."""
    from atomflow.interfaces.dft import published

    data = published()
    for item in (*data.boundaries, *data.surfaces):
        if item.eV_per_A2 is not None:
            assert item.eV_per_A2 * EV_PER_A2_IN_J_PER_M2 == pytest.approx(item.J_per_m2, abs=0.0055)
    exact = [item.plane for item in data.boundaries if item.stoichiometric]
    assert exact == [(1, 1, 0), (1, 0, 1), (1, 0, -1), (1, 0, 0)]
    assert [item.J_per_m2 for item in data.boundaries] == sorted(item.J_per_m2 for item in data.boundaries)
    assert sum(item.eV_per_A2 is not None for item in data.surfaces) >= 1


def test_published_cells_are_sound_and_hold_whole_formula_units():
    from atomflow.build.checks import check_cell
    from atomflow.interfaces.dft import _dft_crystal, _theirs, published

    kept = [item for item in published().boundaries if item.cell]
    assert [item.plane for item in kept] == [(1, 0, 1), (1, 0, -1)]
    crystal = _dft_crystal()
    for item in kept:
        cell = _theirs(item)
        units = cell.composition["P"]
        assert cell.composition == {s: n * units for s, n in {"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}.items()}
        assert check_cell(cell).ok
        # the crystal, but for the boundaries
        assert cell.volume_A3 / units == pytest.approx(crystal.volume_A3 / crystal.composition["P"], rel=0.01)


def test_order_and_error_of_planted_energies(potential):
    from atomflow.interfaces.dft import Row, judged, published

    def rows(ours):
        exact = [item for item in published().boundaries if item.stoichiometric]
        return [Row("boundary", item.plane, item.J_per_m2, value, None, None, 0.0, 1, True, ())
                for item, value in zip(exact, ours, strict=True)]  # fmt: skip

    good = judged(rows([0.10, 0.25, 0.30, 1.0]), 500.0, potential)
    assert good.mean_abs_error_J_per_m2 == pytest.approx((0.02 + 0.03 + 0.03 + 0.07) / 4)
    assert (good.spearman, good.kendall, good.goal_met) == (1.0, 1.0, True)
    swapped = judged(rows([0.25, 0.10, 0.30, 1.0]), 500.0, potential)
    assert swapped.kendall == pytest.approx(2 / 3)
    assert swapped.spearman == pytest.approx(0.8)
    assert not swapped.goal_met
    far = judged(rows([0.30, 0.40, 0.50, 1.2]), 500.0, potential)
    assert far.kendall == 1.0
    assert not far.goal_met


@pytest.mark.slow
def test_a_comparison_goes_on_from_its_folder(tmp_path):
    """Stopped in the middle of a search and called again, it finds its crystal and its search as it left them."""
    pytest.importorskip("mace")
    from atomflow import potentials
    from atomflow.interfaces import compare_dft

    student = potentials.load("atomflow-nzsp-0", device="cpu")
    coarse = SearchConfig.model_validate({"grid_A": 4.5, "extra_gaps_A": (0.2,), "shortlist": 1, "short_steps": 2,
                                          "finalists": 1, "max_steps": 80, "fmax_eV_per_A": 0.1})  # fmt: skip
    options = {"planes": [(1, 1, 0)], "surfaces": False, "thicker": False, "cuts": 1, "grain_thickness_A": 7.0}
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked == 4

    with pytest.raises(RunStopped):
        compare_dft(student, tmp_path, config=coarse, stop=stop, **options)
    found = compare_dft(student, tmp_path, config=coarse, **options)
    again = compare_dft(student, tmp_path, config=coarse, **options)
    assert again.rows == found.rows
    (row,) = found.rows
    assert (row.what, row.plane, row.theirs_J_per_m2) == ("boundary", (1, 1, 0), 0.12)
    assert row.ours_J_per_m2 == pytest.approx(0.14, abs=0.1)
    assert found.kendall is None
    assert found.volume_A3 == pytest.approx(found.dft_volume_A3, rel=0.02)


def test_only_stoichiometric_published_planes_are_compared(tmp_path, capsys):
    lj = ["-p", "lennard-jones-argon", "-o", str(tmp_path / "c")]
    for plane, words in (("0 0 1", "does not hold whole formula units"), ("3 1 1", "no published boundary energy"),
                         ("1 1", "write it like")):  # fmt: skip
        assert run(["interface", "compare-dft", *lj, "--plane", plane]) == 2
        assert words in capsys.readouterr().err
