import itertools
import json
import time
from collections import Counter
from functools import cache

import numpy as np
import pytest

from atomflow.build import nzsp, ordering
from atomflow.build import template as templates
from atomflow.build.annealing import anneal
from atomflow.build.checks import FORMAL_CHARGE, check_cell, require_sound
from atomflow.build.composition import count_atoms
from atomflow.build.electrostatics import ordering_energy
from atomflow.build.nzsp import build_nzsp
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError

pytest.importorskip("pymatgen")
spglib = pytest.importorskip("spglib")

NZSP_4 = {"Na": 12, "Zr": 8, "Si": 8, "P": 4, "O": 48}


def space_group(cell):
    return spglib.get_spacegroup((cell.lattice_A, cell.fractional, cell.numbers), symprec=0.05)


def shortest_distance(cell):
    """Nearest pair of atoms, by a plain sum over images: independent of the check's neighbour list."""
    images = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    f = cell.fractional
    difference = (f[:, None] - f[None]).reshape(-1, 3)
    difference -= np.round(difference)
    best = np.inf
    for image in images:
        distance = np.linalg.norm((difference + image) @ cell.lattice_A, axis=1)
        best = min(best, distance[distance > 1e-9].min())
    return best


# --- ordered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lattice", "density"), [("experimental", 3.243), ("dft", 3.151)])
def test_the_ordered_cell(lattice, density):
    cell = build_nzsp(cell=lattice)
    found = check_cell(cell)
    assert space_group(cell) == "C2/c (15)"
    assert cell.composition == NZSP_4
    assert cell.density_g_per_cm3 == pytest.approx(density, abs=5e-4)
    assert found.coordination == {"Si": {4: 8}, "P": {4: 4}, "Zr": {6: 8}}
    assert found.charge == 0
    assert Counter(cell.sites[cell.symbols == "Na"].tolist()) == {"Na2": 4, "mid": 8}
    assert set(cell.sites[cell.symbols == "P"].tolist()) == {"T2"}


def test_primitive_and_super_cells_are_the_same_crystal():
    whole, half, double = build_nzsp(), build_nzsp(primitive=True), build_nzsp(supercell=(2, 1, 3))
    assert (len(half), len(double)) == (40, 480)
    for other in (half, double):
        assert space_group(other) == "C2/c (15)"
        assert other.density_g_per_cm3 == pytest.approx(whole.density_g_per_cm3, rel=1e-12)
        assert check_cell(other).shortest_A == pytest.approx(check_cell(whole).shortest_A, rel=1e-9)
        assert Counter(double.sites.tolist()) == {site: 6 * n for site, n in Counter(whole.sites.tolist()).items()}


@pytest.mark.parametrize(("si", "formula"), [(0, "Na6Zr12P18O72"), (3, "Na24Zr12Si18O72")])
def test_rhombohedral_end_members(si, formula):
    cell = build_nzsp(phase="rhombohedral", si=si)
    assert (cell.formula, space_group(cell)) == (formula, "R-3c (167)")
    primitive = build_nzsp(phase="rhombohedral", si=si, primitive=True)
    assert (len(primitive) * 3, space_group(primitive)) == (len(cell), "R-3c (167)")


# --- random -------------------------------------------------------------------------------------------------------

RANDOM = [{"phase": "monoclinic"}, {"phase": "monoclinic", "supercell": (2, 1, 1)}, {"phase": "rhombohedral"}]


def check_random_cells(options, si, zn, seeds):
    seen = set()
    for seed in range(seeds):
        cell = build_nzsp(order="random", si=si, zn=zn, seed=seed, **options)
        units = len(cell.symbols[cell.symbols == "O"]) // 12
        expected = {"Na": 1 + si + 2 * zn, "Zr": 2 - zn, "Zn": zn, "Si": si, "P": 3 - si, "O": 12}
        assert cell.composition == {x: round(n * units) for x, n in expected.items() if n}
        assert sum(FORMAL_CHARGE[x] * n for x, n in cell.composition.items()) == 0
        found = check_cell(cell)
        assert found.ok
        assert min(found.shortest_A.values()) > 1.4
        assert found.shortest_A.get("Na-Na", np.inf) > ordering.MIN_NA_NA_A
        seen.add(cell.sha256)
        if seed % 10 == 0:
            assert shortest_distance(cell) > 1.4
    assert len(seen) == seeds


@pytest.mark.parametrize("options", RANDOM)
@pytest.mark.parametrize(("si", "zn"), [(2.0, 0.0), (0.5, 0.0), (2.0, 0.5)])
def test_random_cells(options, si, zn):
    check_random_cells(options, si, zn, seeds=4)


@pytest.mark.slow
@pytest.mark.parametrize("options", RANDOM)
@pytest.mark.parametrize(("si", "zn"), [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (2.5, 0.0), (2.0, 0.5)])
def test_hundred_random_cells(options, si, zn):
    check_random_cells(options, si, zn, seeds=100)


def test_seeds_walk_through_all_arrangements_of_a_small_cell():
    """Primitive cell: C(6, 4) = 15 Si/P arrangements, each with C(6, 4) = 15 of Na: 225 cells, no repeat before."""
    template = templates.primitive(templates.load_template("monoclinic"))
    counts = count_atoms(2, 2.0, 0.0)
    drawn = [ordering.random_ordering(template, counts, seed) for seed in range(60)]
    assert len({(o.t_is_si.tobytes(), o.na_filled.tobytes()) for o in drawn}) == 60
    assert all(n == 4 for n in Counter(o.t_is_si.tobytes() for o in drawn).values())
    every = {ordering.combination(6, 4, i).tobytes() for i in range(15)}
    assert every == {o.t_is_si.tobytes() for o in drawn[:15]}


@pytest.mark.parametrize("phase", ["monoclinic", "rhombohedral"])
def test_the_ends_of_the_solid_solution(phase):
    """x = 0 fills a quarter of the sites, x = 3 all four per formula unit, for every seed."""
    for seed in range(3):
        empty = build_nzsp(order="random", phase=phase, si=0, seed=seed)
        full = build_nzsp(order="random", phase=phase, si=3, seed=seed)
        assert "Si" not in empty.composition
        assert empty.composition["Na"] * 4 == full.composition["Na"]
        assert "P" not in full.composition
        assert "mid" not in full.sites


def test_the_same_seed_gives_the_same_cell():
    one, two, other = (build_nzsp(order="random", seed=seed) for seed in (7, 7, 8))
    assert one.sha256 == two.sha256 != other.sha256


def test_occupancies_are_those_of_the_crystal():
    """Boilot 1988 at 443 K, scaled from 3.04 to 3 Na: M1 0.355, M2 0.661, mid 0.110 (standard error about 0.01)."""
    base = templates.repeat(templates.load_template("rhombohedral"), (2, 2, 1))
    counts = count_atoms(base.formula_units, 2.0, 0.0)
    filled = np.mean([ordering.random_ordering(base, counts, s).na_filled for s in range(40)], 0)
    for site, occupancy in [("M1", 0.355), ("M2", 0.661), ("mid", 0.110)]:
        assert filled[base.na_names == site].mean() == pytest.approx(occupancy, abs=0.03)


def test_silicon_is_drawn_alike_on_all_t_sites():
    base = templates.load_template("monoclinic")
    counts = count_atoms(base.formula_units, 2.0, 0.0)
    si = np.mean([ordering.random_ordering(base, counts, s).t_is_si for s in range(99)], 0)
    assert si[base.t_names == "T2"].mean() == pytest.approx(2 / 3, abs=0.06)
    filled = np.mean([ordering.random_ordering(base, counts, s).na_filled for s in range(99)], 0)
    assert (filled[base.na_names == "Na1"] == 1).all()  # Hong's model: Na1 full, 2/3 on the others
    assert filled[base.na_names == "Na2"].mean() == pytest.approx(2 / 3, abs=0.06)


def test_t_o_lengths_follow_what_sits_on_t():
    from ase.neighborlist import neighbor_list

    cell = build_nzsp(order="random", seed=3)
    i, j, d = neighbor_list("ijd", cell.to_ase(), 2.0)
    for symbol, length in templates.T_O_LENGTH_A.items():
        bonds = d[(cell.symbols[i] == symbol) & (cell.symbols[j] == "O")]
        assert len(bonds) == 4 * cell.composition[symbol]
        np.testing.assert_allclose(bonds, length, rtol=0, atol=1e-9)


# --- low electrostatic energy -------------------------------------------------------------------------------------


@cache
def small_energy(phase, primitive, repeats):
    base = templates.load_template(phase)
    base = templates.primitive(base) if primitive else base
    return templates.repeat(base, repeats), ordering_energy(base, repeats)


def pymatgen_energy(cell):
    from pymatgen.analysis.ewald import EwaldSummation

    structure = cell.to_pymatgen()
    structure.add_oxidation_state_by_element({x: FORMAL_CHARGE[x] for x in cell.composition})
    return EwaldSummation(structure).total_energy


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"primitive": True, "supercell": (1, 2, 1), "zn": 0.25},
        {"primitive": True, "supercell": (3, 1, 1), "cell": "dft"},
        {"primitive": True, "phase": "rhombohedral", "si": 1.0},
    ],
)
def test_the_annealed_energy_is_pymatgens(options):
    cell = build_nzsp(order="ewald", seed=2, **options)
    assert check_cell(cell).ok
    assert cell.provenance["electrostatic_energy_eV"] == pytest.approx(pymatgen_energy(cell), rel=1e-6)


@pytest.mark.parametrize("phase", ["monoclinic", "rhombohedral"])
def test_annealing_finds_the_minimum_of_all_orderings(phase):
    """Every allowed ordering of the 40-atom cell, one by one."""
    template, energy = small_energy(phase, True, (1, 1, 1))
    counts = count_atoms(template.formula_units, 2.0, 0.0)
    conflicts = ordering.close_pairs(template.na, template.lattice_A, ordering.MIN_NA_NA_A)
    dense = conflicts.toarray() > 0
    allowed = [c for c in itertools.combinations(range(len(template.na)), counts.na) if not dense[np.ix_(c, c)].any()]
    states = []
    for na, t in itertools.product(allowed, itertools.combinations(range(len(template.t)), counts.si)):
        s = np.zeros(len(energy.field))
        s[energy.na[list(na)]] = s[energy.t[list(t)]] = 1.0
        states.append(s)
    lowest = min(energy.energy_eV(s) for s in states)
    rng = np.random.default_rng(0)
    found, value = anneal(energy, energy.variables(ordering.random_ordering(template, counts, 0)), conflicts, rng)
    assert len(states) > 1000
    assert value == pytest.approx(lowest, rel=1e-10)
    assert energy.energy_eV(found) == value


def test_electrostatics_finds_the_order_that_dft_found():
    """The lowest of all orderings of the primitive cell is Xie's: Na2 and mid full, Na1 empty, Si on 8f."""
    cell = build_nzsp(order="ewald", primitive=True)
    assert Counter(cell.sites[cell.symbols == "Na"].tolist()) == {"Na2": 2, "mid": 4}
    assert set(cell.sites[cell.symbols == "Si"].tolist()) == {"T1"}


@pytest.mark.parametrize("phase", ["monoclinic", "rhombohedral"])
def test_annealed_is_below_every_random_ordering(phase):
    template, energy = small_energy(phase, True, (2, 1, 1))
    counts = count_atoms(template.formula_units, 2.0, 0.0)
    annealed = build_nzsp(order="ewald", phase=phase, primitive=True, supercell=(2, 1, 1), seed=1)
    random = [energy.energy_eV(energy.variables(ordering.random_ordering(template, counts, s))) for s in range(50)]
    assert annealed.provenance["electrostatic_energy_eV"] < min(random)
    again = build_nzsp(order="ewald", phase=phase, primitive=True, supercell=(2, 1, 1), seed=1)
    assert again.sha256 == annealed.sha256


@pytest.mark.slow
def test_a_thousand_atoms_in_seconds():
    """About 2 s on one free core; pymatgen's ordering of 200 atoms takes hours."""
    start = time.process_time()
    cell = build_nzsp(order="ewald", supercell=(3, 2, 2), seed=1)
    assert time.process_time() - start < 15
    assert len(cell) == 960
    assert cell.provenance["electrostatic_energy_eV"] == pytest.approx(pymatgen_energy(cell), rel=1e-6)
    random = build_nzsp(order="random", supercell=(3, 2, 2), seed=1)
    assert cell.provenance["electrostatic_energy_eV"] < pymatgen_energy(random)


# --- sites, provenance, checks ------------------------------------------------------------------------------------


def test_na_sites_travel_with_the_cell(tmp_path):
    cell = read_cell(write_cell(build_nzsp(order="random", supercell=(1, 2, 1), seed=4), tmp_path / "cell.extxyz"))
    names, positions_A = nzsp.na_sites(cell)
    assert Counter(names.tolist()) == {"Na1": 8, "Na2": 8, "Na3": 16, "mid": 16}
    na = cell.symbols == "Na"
    for site, position in zip(cell.sites[na], cell.positions_A[na], strict=True):
        away = (positions_A[names == site] - position) @ np.linalg.inv(cell.lattice_A)
        away = (away - np.round(away)) @ cell.lattice_A
        assert np.linalg.norm(away, axis=1).min() < 1e-4
    with pytest.raises(InputError, match="no list of Na sites"):
        nzsp.na_sites(Cell([11], [[0, 0, 0]], np.eye(3) * 4))


def test_provenance_says_how_to_build_the_cell_again():
    cell = build_nzsp(order="random", supercell=(2, 1, 1), seed=7, zn=0.25)
    provenance = json.loads(json.dumps(cell.provenance))
    assert build_nzsp(**provenance["parameters"]).sha256 == cell.sha256
    assert all(len(source["sha256"]) == 64 for source in provenance["sources"])
    assert provenance["builder"] == "nzsp"


def test_a_composition_away_from_the_measured_cell_is_noted():
    assert build_nzsp(order="random").provenance["note"] is None
    assert "monoclinic between 1.8 and 2.2" in build_nzsp(order="random", si=1.0).provenance["note"]
    assert "relax the cell too" in build_nzsp(order="random", zn=0.25).provenance["note"]
    assert "relax the cell too" in build_nzsp(order="random", si=1.0, phase="rhombohedral").provenance["note"]
    assert build_nzsp(phase="rhombohedral", si=3).provenance["note"] is None
    sources = [source["crystal"] for source in build_nzsp().provenance["sources"]]
    assert sources == ["NZSP_C2c_ordered_DFTcoords_PDF84-1200cell", templates.HONG]


def broken(**changes):
    cell = build_nzsp()
    arrays = {"numbers": cell.numbers.copy(), "positions_A": cell.positions_A.copy(), "lattice_A": cell.lattice_A}
    for name, (index, value) in changes.items():
        arrays[name][index] = value
    return Cell(**arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": (0, 30)}, r"charges add up to \+1"),
        ({"numbers": (12, 14)}, "1 Si with 1 O within 2 Å, 4 expected"),
        ({"positions_A": (0, build_nzsp().positions_A[1] + [1.0, 0, 0])}, "Na-Na contact of 1.00 Å"),
        ({"positions_A": (79, build_nzsp().positions_A[79] + [0, 0.8, 0])}, r"Na-O contact of 1.86 Å.* \(and 1 more\)"),
    ],
)
def test_a_broken_cell_says_what_is_broken(changes, message):
    with pytest.raises(InputError, match=message):
        require_sound(broken(**changes))


def test_other_crystals_are_not_held_to_nasicon_rules():
    from atomflow import crystals

    for name in ("Na_bcc", "ZrO2_baddeleyite_P21c", "ZrSiO4_zircon_I41amd"):
        assert check_cell(Cell.from_pymatgen(crystals.load(name))).coordination == {}
    oxide = check_cell(Cell.from_pymatgen(crystals.load("ZrO2_baddeleyite_P21c")))
    assert oxide.ok
    assert oxide.shortest_A["O-Zr"] == pytest.approx(2.052, abs=1e-3)


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_builds_and_checks(tmp_path, capsys):
    path = tmp_path / "cell.extxyz"
    assert run(["build", "nzsp", "--order", "random", "--supercell", "2", "1", "1", "--seed", "7", "--json",
                "-o", str(path)]) == 0  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert (printed["n_atoms"], printed["ok"], printed["charge"]) == (160, True, 0)
    assert read_cell(path).sha256 == build_nzsp(order="random", supercell=(2, 1, 1), seed=7).sha256
    assert run(["build", "nzsp", "-o", str(path)]) == 0
    out = capsys.readouterr().out
    assert "C2/c (15) at 0.05 Å" in out
    assert "3.243 g/cm³" in out
    assert run(["build", "check", str(path)]) == 0


def test_the_check_command_refuses_a_broken_cell(tmp_path, capsys):
    path = write_cell(broken(numbers=(0, 30)), tmp_path / "broken.extxyz")
    assert run(["build", "check", str(path), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"] is False
    assert "add up to +1" in captured.err
    assert len(captured.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--si", "5", "--order", "random"], "between 0 and 3"),
        (["--si", "-0.5", "--order", "random"], "between 0 and 3"),
        (["--si", "nan", "--order", "random"], "'si'"),
        (["--si", "2.1", "--order", "random"], "si=2 and si=2.25"),
        (["--si", "2.5"], "order random"),
        (["--si", "1", "--phase", "rhombohedral"], "si=0 and si=3"),
        (["--zn", "0.75", "--order", "random"], "zn can be at most 0.5"),
        (["--zn", "0.25"], "no Zn"),
        (["--zn", "0.1", "--order", "random"], "zn=0 and zn=0.25"),
        (["--zn", "-1", "--order", "ewald"], "between 0 and 2"),
        (["--supercell", "0", "1", "1"], "from 1 up"),
        (["--supercell", "2", "1"], "requires 3"),
        (["--supercell", "1000", "1000", "1000"], "is the most"),
        (["--supercell", "a", "1", "1"], "whole numbers"),
        (["--order", "randm"], "'order'"),
        (["--phase", "cubic"], "'phase'"),
        (["--cell", "pbe"], "'cell'"),
        (["--cell", "dft", "--phase", "rhombohedral", "--order", "random"], "monoclinic"),
        (["--seed", "-1"], "'seed'"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, tmp_path, capsys):
    path = tmp_path / "cell.extxyz"
    assert run(["build", "nzsp", "-o", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""
    assert not path.exists()


@pytest.mark.parametrize("name", ["cell.foo", "cell", "missing/cell.extxyz"])
def test_a_file_that_cannot_be_written_is_said_before_building(name, tmp_path, capsys):
    assert run(["build", "nzsp", "-o", str(tmp_path / name)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())
