"""Work of adhesion against bonds counted by hand, and published energies of boundaries and surfaces."""


from dataclasses import replace

import numpy as np
import pytest
from interface_toys import (
    A_A,
    BRIDGE,
    BRIDGE_GAP_A,
    EPSILON_EV,
    bicrystal,
    bonds_only,
    fcc,
    slab,
)

from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError, RunStopped
from atomflow.units import EV_PER_A2_IN_J_PER_M2

pytest.importorskip("torch")

from atomflow.interfaces.translation import SearchConfig

BASIS_A = fcc(1)


@pytest.fixture(scope="module")
def potential():
    return bonds_only()


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

    with pytest.raises(InputError, match="of two parts, and this cell names none"):
        adhesion(slab(), potential)
    only = Cell([18] * 4, BASIS_A, np.eye(3) * A_A, np.full(4, "metal"))
    with pytest.raises(InputError, match="one part only"):
        adhesion(only, potential)
    path = tmp_path / "gb.extxyz"
    write_cell(bicrystal((0.0, 0.0), 0.1), path)
    assert run(["interface", "adhesion", str(path), "-p", "lennard-jones-argon", "--max-steps", "3"]) == 0
    assert "mean of 2 interface(s)" in capsys.readouterr().out
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
    assert kept == [item for item in published().boundaries if item.stoichiometric]
    slabs = [item for item in published().surfaces if item.cell]
    assert slabs == [item for item in published().surfaces if item.stoichiometric]
    crystal = _dft_crystal()
    for item in kept + slabs:
        cell = _theirs(item)
        units = cell.composition["P"]
        assert cell.composition == {s: n * units for s, n in {"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}.items()}
        found = check_cell(cell)
        assert found.ok or item in slabs or item.plane == (1, 0, 0)  # where faces leave some Zr with five O
        assert all(set(found.coordination[centre]) == {4} for centre in ("Si", "P"))
        assert set(found.coordination["Zr"]) <= {4, 5, 6}
        if item in slabs:
            heights = np.sort(cell.positions_A[:, 2])
            assert np.diff(heights).max() < 2  # whole, in the middle of the cell
            assert cell.lattice_A[2, 2] - np.ptp(heights) > 20  # a vacuum
            continue
        # the crystal, but for the boundaries
        assert cell.volume_A3 / units == pytest.approx(crystal.volume_A3 / crystal.composition["P"], rel=0.015)


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
    assert far.same_cell_error_J_per_m2 is far.same_cell_kendall is None

    theirs = [replace(row, what=what) for row, what in
              zip(good.rows, ["their cell", "their cell", "their slab", "boundary"], strict=True)]  # fmt: skip
    same = judged(theirs, 500.0, potential)
    assert same.same_cell_error_J_per_m2 == pytest.approx((0.02 + 0.03 + 0.03) / 3)
    assert same.same_cell_kendall == 1.0
    assert same.mean_abs_error_J_per_m2 == pytest.approx(0.07)


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
    row, theirs = found.rows
    assert (theirs.what, theirs.n_atoms) == ("their cell", 240)
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
