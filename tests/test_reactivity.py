"""Reaction energies against hand sums of measured enthalpies; relaxing side by side against relaxing alone."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

from atomflow import crystals
from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.errors import InputError, RunStopped

pytest.importorskip("pymatgen")

from pymatgen.core import Composition

from atomflow.reactivity.changes import changes, coordination
from atomflow.reactivity.hull import entries, phase_diagram, reduced_elements
from atomflow.reactivity.interface import contact
from atomflow.reactivity.known import ENTHALPIES_KJ_PER_MOL, known_reactions
from atomflow.reactivity.reductions import reductions
from atomflow.reactivity.relaxing import RelaxedCrystal, RelaxSettings, primitive_cell, relax_crystals
from atomflow.reactivity.study import GLASS, ReactivityResult, assess, study
from atomflow.reactivity.system import ELEMENTS, competing, elements_of, formula_of
from atomflow.reactivity.window import window
from atomflow.reactivity.words import text
from atomflow.units import EV_IN_KJ_PER_MOL

IDENTITY = {"name": "measured", "sha256": "0" * 64}


def crystal(formula, kJ_per_mol, **changed):
    """A crystal whose energy is its enthalpy of formation: then every reaction energy is a sum done by hand."""
    return replace(RelaxedCrystal(formula, formula, int(Composition(formula).num_atoms),
                                  kJ_per_mol / EV_IN_KJ_PER_MOL, True, 1, 0.0, 0.0, (), "", {}, {}), **changed)


@pytest.fixture(scope="module")
def measured():
    return tuple(crystal(formula, value) for formula, value in ENTHALPIES_KJ_PER_MOL.items())


def test_energies_at_contacts_are_the_sums_done_by_hand(measured):
    diagram = phase_diagram(entries(measured))
    found = contact(diagram, "Na", "ZnO").strongest  # ZnO + 2 Na → Na2O + Zn
    assert found.energy_eV_per_atom == pytest.approx((-414.2 + 350.5) / EV_IN_KJ_PER_MOL / 4)
    assert (found.share, found.reduced, set(found.products)) == (pytest.approx(0.5), ("Zn",), {"Na2O", "Zn"})
    found = contact(diagram, "Na", "ZrO2").strongest  # 3 ZrO2 + 4 Na → 2 Na2ZrO3 + Zr
    assert found.energy_eV_per_atom == pytest.approx((2 * -1686.3 + 3 * 1100.6) / EV_IN_KJ_PER_MOL / 13)
    assert set(found.products) == {"Na2ZrO3", "Zr"}
    oxides = contact(diagram, "Na2O", "SiO2").strongest
    assert oxides.energy_eV_per_atom == pytest.approx((-1554.9 + 414.2 + 910.7) / EV_IN_KJ_PER_MOL / 6)
    assert oxides.kJ_per_mol == pytest.approx(0.5 * (-1554.9 + 414.2 + 910.7), abs=0.01)
    assert oxides.reduced == ()
    glass = contact(diagram, "Na", "ZBO")
    assert "mixture of crystals" in glass.energies[1]
    assert glass.strongest.reduced == ("B", "Zn")


def test_what_has_not_reacted_says_so_and_materials_off_the_hull_gain_by_themselves(measured):
    diagram = phase_diagram(entries(measured))
    assert contact(diagram, "Na", "Na2O").strongest.energy_eV_per_atom == pytest.approx(0, abs=1e-9)
    # a crystal 0.1 eV/atom above its decomposition gains that without any sodium
    high = crystal("Na2Si2O5", -1554.9 - 910.7 + 0.1 * 9 * EV_IN_KJ_PER_MOL)
    found = entries((*measured, high))
    item = window(found, phase_diagram(found), "Na2Si2O5")
    assert item.above_hull_eV_per_atom == pytest.approx(0.1)
    assert item.decomposition == "Na2SiO3 + SiO2"


def test_windows_are_those_of_the_nernst_equation(measured):
    found = entries(measured)
    diagram = phase_diagram(found)
    zinc = window(found, diagram, "ZnO")
    assert zinc.reduction_V == pytest.approx((414.2 - 350.5) / 2 / EV_IN_KJ_PER_MOL, abs=1e-5)
    assert zinc.with_metal_kJ_per_mol == pytest.approx(-414.2 + 350.5)
    assert (zinc.with_metal, zinc.reduced, zinc.oxidation_V) == (("Na2O", "Zn"), ("Zn",), None)
    soda = window(found, diagram, "Na2O")
    assert soda.reduction_V == pytest.approx(0, abs=1e-5)  # it stands beside sodium metal
    # 2 Na2O → Na2O2 + 2 Na
    assert soda.oxidation_V == pytest.approx((-510.9 + 2 * 414.2) / 2 / EV_IN_KJ_PER_MOL, abs=1e-5)
    assert (zinc.reduction_error_V, soda.reduction_error_V) == (None, None)
    doubtful = window(found, diagram, "ZnO", error_eV_per_atom=0.05)
    assert doubtful.reduction_error_V == pytest.approx(0.05 * 4 / 2, rel=1e-3)  # ZnO + 2 Na: 4 atoms, 2 Na
    assert soda.with_metal_kJ_per_mol == pytest.approx(0, abs=1e-9)


def test_the_error_of_a_potential_is_found_and_decides_the_verdicts(measured):
    """Zn lowered by 0.4 eV: every reaction that sets zinc free is off by 0.4 eV per Zn."""
    wrong = tuple(replace(c, energy_eV=c.energy_eV - 0.4) if c.formula == "Zn" else c for c in measured)
    exact, off = assess(measured, (("Na", "ZnO"),), IDENTITY), assess(wrong, (("Na", "ZnO"),), IDENTITY)
    assert exact.error_eV_per_atom == pytest.approx(0, abs=1e-9)
    by_name = {k.reaction: k for k in off.known}
    assert by_name["2 Na + ZnO -> Na2O + Zn"].error_eV_per_atom == pytest.approx(-0.1)
    assert by_name["0.5 Zr + ZnO -> 0.5 ZrO2 + Zn"].error_eV_per_atom == pytest.approx(-0.16)
    assert len(off.known) == 14
    assert off.error_eV_per_atom == pytest.approx(np.sqrt((0.1**2 + 0.16**2) / 14))
    verdicts = {r.cation: r.verdict for r in exact.reductions}
    assert verdicts == {"Zr": "reduced", "Zn": "reduced", "B": "reduced", "Si": "reduced"}
    noble = tuple(replace(c, energy_eV=c.energy_eV + 10.0) if c.formula == "Zn" else c for c in measured)
    diagram = phase_diagram(entries(noble))
    zinc = next(r for r in reductions(diagram, 0.05) if r.cation == "Zn")
    assert (zinc.verdict, zinc.strongest) == ("not reduced", None)
    cost = (10.0 + (350.5 - 414.2) / EV_IN_KJ_PER_MOL) / 4  # 2 Na + ZnO -> Na2O + Zn, four atoms
    for error, verdict in ((cost / 2 * 0.99, "not reduced"), (cost / 2 * 1.01, "cannot say"), (None, "cannot say")):
        assert next(r for r in reductions(diagram, error) if r.cation == "Zn").verdict == verdict
    assert set(zinc.measured_strongest.products) == {"Na2O", "Zn"}
    doubtful = next(r for r in assess(wrong, (("Na", "ZrO2"),), IDENTITY).reductions if r.cation == "Zr")
    assert doubtful.verdict == "cannot say"  # 0.056 eV/atom is less than two errors of 0.05


def test_a_double_oxide_is_not_reduced_and_a_suboxide_is():
    assert reduced_elements(Composition("Na2ZrO3")) == []
    assert reduced_elements(Composition("Na2O2")) == []
    assert reduced_elements(Composition("Na3P")) == ["P"]
    assert reduced_elements(Composition("Zr3O")) == ["Zr"]
    assert reduced_elements(Composition("Na")) == []


def test_measured_enthalpies_balance():
    diagram = phase_diagram(entries(tuple(crystal(f, v) for f, v in ENTHALPIES_KJ_PER_MOL.items())))
    for known in known_reactions(diagram):
        assert known.computed_kJ_per_mol == pytest.approx(known.measured_kJ_per_mol, abs=1e-6)


def test_what_takes_part():
    assert elements_of(["Na3Zr2Si2PO12"]) == ("Na", "Zr", "Si", "P", "O")
    names = competing(("Na", "Zn", "O"))
    assert {"Na_bcc", "ZnO_P63mc", "Na2ZnO2_mp-29488", "NaZn13_Fm-3c"} <= set(names)
    assert all(crystals.facts(name).ordered for name in competing(ELEMENTS))
    assert not any("Zr" in crystals.facts(name).formula for name in names)
    for name, words in [("NZPS", "did you mean 'NZSP'"), ("Na3VO4", "no competing crystals with V"), ("???", "neither"),
                        ("Fe", "with Fe")]:
        with pytest.raises(InputError, match=words.replace("?", r"\?")):
            formula_of(name)


def test_without_a_reference_there_is_no_hull(measured):
    with pytest.raises(InputError, match="Na2O must both"):
        entries([c for c in measured if c.formula != "Na2O"])
    with pytest.raises(InputError, match="element Zr"):
        phase_diagram(entries([c for c in measured if c.formula != "Zr"]))


def test_changes_name_volume_symmetry_and_coordination():
    before = primitive_cell("ZnO_P63mc")
    assert changes(before, before) == []
    assert coordination(before)["Zn"] == 4
    swollen = Cell(before.numbers, before.positions_A * 1.3, before.lattice_A * 1.3)
    assert changes(before, swollen) == ["volume +120 %", "Zn has 0.0 O neighbours, had 4.0"]
    moved = before.positions_A + np.array([[0.4, 0.2, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0.3]])
    assert changes(before, Cell(before.numbers, moved, before.lattice_A)) == ["space group P6_3mc (186) → Cm (8)"]


def test_failed_and_changed_crystals_are_named(measured):
    bad = crystal("Zn2SiO4", -1636.7, crystal="willemite", converged=False, problem="not converged in 3 steps")
    odd = crystal("P2O5", -1505.0, changes=("volume +40 %",))
    item = assess((*(c for c in measured if c.formula != "Zn2SiO4"), bad, odd, crystal("P", 0.0)),
                  (("Na", "P2O5"),), IDENTITY)
    assert any("willemite is left out: not converged" in line for line in item.warnings)
    assert any("P2O5 changed while relaxing: volume +40 %" in line for line in item.warnings)
    assert item.to_json()["failed"] == ["willemite"]
    said = text(ReactivityResult((("Na", "P2O5"),), ELEMENTS, (item, item)))
    assert "side by side" in said
    assert "warning: willemite" in said


torch = pytest.importorskip("torch")
FEW = ("Na_bcc", "Na2O_Fm-3m", "ZnO_P63mc", "Zn_P63mmc")


@pytest.fixture(scope="module")
def student():
    from atomflow import potentials

    return potentials.load("atomflow-nzsp-0", dtype="float64")


def test_side_by_side_is_the_same_as_alone(student, tmp_path):
    from atomflow import md

    said = []
    found = relax_crystals(FEW, student, tmp_path, say=said.append)
    for name in FEW:
        alone, _ = md.relax(primitive_cell(name), student, cell_too=True)
        assert found[name].energy_eV == pytest.approx(_energy(alone, student), abs=2e-4)
        assert found[name].volume_change == pytest.approx(alone.volume_A3 / primitive_cell(name).volume_A3 - 1,
                                                          abs=5e-3)
        assert found[name].converged
        assert found[name].fmax_eV_per_A <= 0.02
    assert any("4 of 4" in line for line in said)
    assert any("min to go" in line for line in said)


def _energy(cell, potential):
    from atomflow.potentials.evaluate import evaluate_cells

    return float(evaluate_cells(potential, [cell.numbers], [cell.positions_A], [cell.lattice_A]).energy_eV[0])


def test_what_was_relaxed_is_kept_per_potential_and_setting(student, tmp_path):
    first = relax_crystals(FEW[:2], student, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    said = []
    assert relax_crystals(FEW[:2], student, tmp_path, say=said.append) == first
    assert said == ["2 of 2 were relaxed before"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")} == stamps
    relax_crystals(FEW[:1], student, tmp_path, RelaxSettings(fmax_eV_per_A=0.1))
    relax_crystals(FEW[:1], student.with_dtype("float32"), tmp_path)
    assert len(list(tmp_path.glob("Na_bcc-*.json"))) == 3
    next(tmp_path.glob("Na2O*.json")).write_text("{}")
    with pytest.raises(InputError, match="remove it to have it made again"):
        relax_crystals(FEW[:2], student, tmp_path)


def test_a_stop_keeps_what_is_finished_and_the_same_call_goes_on(student, tmp_path):
    names = competing(("Na", "Zn", "O"))

    def stop_after_two(said):
        if len(list(tmp_path.glob("*.json"))) == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunStopped, match="the same command goes on"):
        relax_crystals(names, student, tmp_path, RelaxSettings(max_steps=3), stop_after_two)
    kept = {path.name for path in tmp_path.glob("*.json")}
    assert 2 <= len(kept) < len(names)
    found = relax_crystals(names, student, tmp_path, RelaxSettings(max_steps=3))
    assert kept < {path.name for path in tmp_path.glob("*.json")}
    assert any("not converged in 3 steps" in item.problem for item in found.values())


def test_a_whole_study_on_the_command_line(tmp_path, capsys):
    arguments = ["reactivity", "--pair", "Na", "ZnO", "-p", "atomflow-nzsp-0", "--fmax", "0.5", "-o", str(tmp_path)]
    assert run([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "reactivity"
    (item,) = data["studies"]
    assert item["contacts"][0]["names"] == ["Na", "ZnO"]
    assert item["potential"]["name"] == "atomflow-nzsp-0"
    assert {c["crystal"] for c in item["crystals"]} == set(competing(("Na", "O", "Zn")))
    assert json.loads((tmp_path / "reactivity.json").read_text())["pairs"] == [["Na", "ZnO"]]
    assert (tmp_path / "reactivity.png").stat().st_size > 10000
    assert run(arguments) == 0
    out = capsys.readouterr()
    assert "stability against sodium" in out.out
    assert "were relaxed before" in out.err


def test_a_glass_takes_the_place_of_the_mixture(measured):
    mixture = -2 * 350.5 - 3 * 1273.5
    glass = crystal("Zn2B6O11", mixture + 0.05 * 19 * EV_IN_KJ_PER_MOL, crystal=GLASS)
    plain, with_glass = (assess(c, (("Na", "ZBO"),), IDENTITY) for c in (measured, (*measured, glass)))
    assert with_glass.contacts[0].energies[1] == GLASS
    assert with_glass.windows[0].above_hull_eV_per_atom == pytest.approx(0.05)
    gain = [item.contacts[0].mixtures[0].energy_eV_per_atom for item in (plain, with_glass)]
    assert gain == pytest.approx([0.0, -0.05], abs=1e-9)
    low = replace(glass, energy_eV=glass.energy_eV - 5.0)
    assert any("below the crystals" in line for line in assess((*measured, low), (("Na", "ZBO"),), IDENTITY).warnings)


def test_wrong_input_is_one_line(student, tmp_path, capsys):
    for arguments, words in [
        (["--pair", "Na", "NZPS", "-o", str(tmp_path)], "did you mean 'NZSP'"),
        (["--pair", "Na", "Na", "-o", str(tmp_path)], "two different materials"),
        (["--pair", "Na", "LiF", "-o", str(tmp_path)], "no competing crystals with Li, F"),
        (["--pair", "Na", "ZnO", "-p", "chgnt", "-o", str(tmp_path)], "did you mean 'chgnet'"),
        (["--pair", "Na", "ZnO", "--fmax", "0", "-o", str(tmp_path)], "greater than 0"),
    ]:
        assert run(["reactivity", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert words in error, arguments
    water = Cell([1, 1, 8], np.eye(3), 5 * np.eye(3))
    with pytest.raises(InputError, match="no pair has ZBO"):
        study([student], tmp_path, (("Na", "ZnO"),), glass=water)
    with pytest.raises(InputError, match="another material"):
        study([student], tmp_path, (("Na", "ZBO"),), glass=water)
    with pytest.raises(InputError, match="at least one potential"):
        study([], tmp_path)
