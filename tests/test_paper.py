"""The publication as data: evidence for every value, derived values by hand arithmetic, checks that can fail."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from atomflow import paper
from atomflow.cli.main import run
from atomflow.errors import EXIT_WRONG_INPUT, InputError
from atomflow.paper import formulas


@pytest.fixture(scope="module")
def printed():
    return paper.load()


@pytest.fixture(scope="module")
def computed():
    return paper.derived()


def status(publication, name):
    return {finding.id: finding for finding in paper.check(publication)}[name].status


# --- evidence


def test_every_value_has_unit_place_and_quote(printed):
    assert len(printed.by_id) > 90
    for value in printed.values():
        assert value.unit.strip(), value.id
        assert value.where.strip(), value.id
        assert value.quote.strip(), value.id
        assert value.quantity.strip(), value.id


def test_every_printed_number_stands_in_its_own_quote(printed):
    """A value that drifts from its evidence is a typing error."""
    tested = 0
    for value in printed.values():
        if value.rounding is not None:
            decimals = max(0, round(-math.log10(2 * value.rounding)))
            assert f"{abs(value.number()):.{decimals}f}" in value.quote, value.id
        elif value.relation is not None:
            assert f"{value.number():g}" in value.quote, value.id
        else:
            continue
        tested += 1
    assert tested > 60


def test_quotes_are_short_enough_to_be_quotes(printed):
    assert max(len(value.quote) for value in printed.values()) < 90


def test_anchors_carry_their_provenance_and_none_is_from_memory(printed):
    assert {anchor.mark for anchor in printed.anchors.values()} <= {"T", "T2", "C"}
    for anchor in printed.anchors.values():
        low, high = anchor.interval()
        assert low <= high
        assert anchor.source
        assert anchor.unit


def test_derived_values_name_inputs_that_exist(printed, computed):
    known = set(printed.by_id) | set(printed.anchors)
    for item in computed.values():
        assert set(item.inputs) <= known, item.id


def test_no_derived_value_is_stored(printed):
    assert not [name for name in printed.by_id if name.startswith("d.")]


def test_units_convert_or_refuse(printed):
    assert printed.number("sig.L_x0", "cm") == pytest.approx(0.0107, rel=1e-12)
    assert printed.number("sig.t_x0.2", "S/cm") == pytest.approx(1.58e-3, rel=1e-12)
    assert printed.number("mat.zbo_mp", "K") == pytest.approx(1074.05, rel=1e-12)
    with pytest.raises(InputError, match="does not convert to eV"):
        printed.number("sig.L_x0", "eV")
    with pytest.raises(InputError, match="not a single number"):
        printed.number("mat.se", "text")


# --- derived values, each against arithmetic done by hand

#: id → (value worked out by hand, relative tolerance). k = 8.617333e-5 eV/K, e = 1.602177e-19 C, N_A = 6.022141e23.
BY_HAND = {
    # 3·22.98977 + 2·91.224 + 2·28.085 + 30.97376 + 12·15.999
    "d.M": (530.549, 1e-5),
    # 4·530.549/(6.022141e23·3.244)·1e24
    "d.V": (1086.31, 1e-5),
    # 12/1086.31e-24
    "d.n": (1.10466e22, 1e-5),
    # 1.380649e-23·298.15/(1.10466e22·(1.602177e-19)²) = 4.11641e-21/2.83563e-16
    "d.NEfac": (1.45168e-5, 1e-5),
    # 1.45168e-5·0.53e-3, ·1.58e-3
    "d.Dsig_x0": (7.6939e-9, 1e-4),
    "d.Dsig_x0.2": (2.29365e-8, 1e-4),
    # 0.107/0.53e-3, 0.09/1.58e-3; as printed a tenth
    "d.R_x0": (201.887, 1e-5),
    "d.R_x0.2": (56.962, 1e-5),
    "d.R_printed_x0.2": (5.6962, 1e-4),
    # 0.53e-3·(117.7 + 85.0)
    "d.L_x0": (0.107431, 1e-6),
    # 107/117.7 and 107/85 mS/cm
    "d.sig_b_x0": (0.909091, 1e-5),
    "d.sig_gb_x0": (1.258824, 1e-5),
    # 0.909091·(3 - 0.737)/(2·0.737) = 0.909091·1.535278
    "d.sig_b_x0_maxwell": (1.395707, 1e-5),
    # 0.909091/0.737^1.5 = 0.909091/0.632703
    "d.sig_b_x0_bruggeman": (1.43684, 1e-5),
    "d.Dsig_b_x0": (1.31971e-8, 1e-4),
    "d.RSE": (26.7, 1e-9),
    # 26.7·1.58e-3·10
    "d.L_SE": (0.42186, 1e-5),
    # (1/298.15 - 1/333.15)/8.617333e-5 = 3.52364e-4/8.617333e-5
    "d.invkT": (4.08902, 1e-4),
    # 75.9·exp(-0.27·4.08902), 71·exp(-0.45·4.08902), 173.6·exp(-0.33·4.08902)
    "d.R60_Rct_an": (25.162, 1e-4),
    "d.R60_Rct_cat": (11.2754, 1e-4),
    "d.R60_Rtot": (45.031, 1e-4),
    # ln(26.7/(45.031 - 25.162 - 11.2754))/4.08902 = ln(26.7/8.5936)/4.08902
    "d.Ea_SE_literal": (0.2772, 1e-3),
    # ln(173.6/(26.7·e^-1.10404 + 75.9·e^-1.84006 + 71·e^-1.34938))/4.08902 = ln(173.6/39.32)/4.08902
    "d.Ea_tot_alternative": (0.3632, 1e-3),
    # 8.617333e-5·315.65
    "d.sigmaT_shift": (0.0272006, 1e-5),
    # 0.153·0.53 mS/cm and the rest of it
    "d.sig_e_x0": (0.08109, 1e-9),
    "d.sig_i_x0": (0.44891, 1e-9),
    # 2·96485.33/3.6/456.289
    "d.NVCP_2e": (117.475, 1e-4),
    # 126.5/58.7375
    "d.NVCP_Na_charge": (2.15365, 1e-4),
    "d.V_mean": (3.38, 1e-9),
    "d.plate_h_x0.2": (66.0, 1e-9),
    # 6.6e-3·3600/96485.33·22.98977/0.968·1e4
    "d.plate_um_x0.2": (58.485, 1e-4),
    "d.j_ohmic": (0.979263, 1e-5),
    # 0.55/(10·121)·1000
    "d.load_ccd": (0.454545, 1e-5),
    # 2·65.38 + 6·10.81 + 11·15.999
    "d.ZBO_M": (371.609, 1e-6),
    # 74.3218/604.871
    "d.ZBO_wt_x0.2": (12.2872, 1e-4),
    # (74.3218/2.85)/(74.3218/2.85 + 530.549/3.244)
    "d.ZBO_vol_x0.2": (13.7523, 1e-4),
    "d.NZSP1250": (582.5, 1e-9),
    # 1.45168e-5·0.6e-3
    "d.Dsig_lit_stoichiometric": (8.7101e-9, 1e-4),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_derived_value_by_hand(computed, name):
    value, tolerance = BY_HAND[name]
    assert computed[name].value == pytest.approx(value, rel=tolerance, abs=0.0)


def test_range_of_the_energy_that_the_literal_reading_needs(computed):
    needed = computed["d.Ea_SE_literal"]
    assert needed.low == pytest.approx(0.234, abs=1e-3)
    assert needed.high == pytest.approx(0.330, abs=1e-3)


def test_density_assumed_for_the_glass_shows_in_the_range(computed):
    share = computed["d.ZBO_vol_x0.2"]
    assert share.low < share.value < share.high
    assert "estimate" in share.note


def test_energies_of_a_sum_and_of_its_missing_part_are_inverse():
    total = formulas.series_energy_eV([26.7, 75.9, 71.0], [0.2, 0.27, 0.45], 298.15, 333.15)
    back = formulas.missing_energy_eV([75.9, 71.0], [0.27, 0.45], 173.6, total, 298.15, 333.15)
    assert back == pytest.approx(0.2, rel=1e-9)
    assert formulas.series_energy_eV([1.0, 5.0], [0.3, 0.3], 298.15, 333.15) == pytest.approx(0.3, rel=1e-12)


def test_a_missing_part_that_would_be_negative_has_no_energy():
    assert formulas.missing_energy_eV([75.9, 71.0], [0.27, 0.45], 140.0, 0.33, 298.15, 333.15) is None
    assert formulas.missing_energy_eV([75.9, 71.0], [0.05, 0.05], 173.6, 0.45, 298.15, 333.15) is None


def test_derived_values_follow_the_printed_ones(printed):
    doubled = paper.derived(printed.with_value("sig.t_x0.2", 3.16))
    assert doubled["d.Dsig_x0.2"].value == pytest.approx(2 * paper.derived()["d.Dsig_x0.2"].value, rel=1e-12)


# --- checks


EXPECTED = {
    "INC-01": "inconsistent", "INC-02": "inconsistent", "INC-03": "inconsistent", "INC-04": "inconsistent",
    "INC-05": "cannot decide", "INC-06": "cannot decide", "INC-07": "inconsistent", "INC-08": "inconsistent",
    "INC-09": "inconsistent", "INC-10": "inconsistent", "INC-11": "inconsistent", "INC-12": "inconsistent",
    "INC-13": "inconsistent", "INC-14": "ok", "INC-15": "inconsistent", "INC-16": "inconsistent",
    "INC-18": "inconsistent", "INC-19": "cannot decide", "INC-20": "cannot decide", "INC-22": "cannot decide",
}  # fmt: skip

#: (check, what the text would have had to print, status then)
FLIPS = [
    ("INC-01", [("sym.Rint_x02_intro", 23.0)], "ok"),
    ("INC-02", [("sig.L_x0", 1.07)], "ok"),
    ("INC-02", [("sig.L_x0", 0.107, {"unit": "cm"})], "ok"),
    ("INC-03", [("fc.Rtot", 204.0)], "ok"),
    ("INC-04", [("fc.Rct_an", 24.0)], "ok"),
    ("INC-05", [("fc.Ea3", 0.45)], "inconsistent"),
    ("INC-05", [("fc.Ea3", 0.28)], "inconsistent"),
    ("INC-06", [("cyc.V", 26.5)], "ok"),
    ("INC-06", [("cyc.V", 530.0)], "inconsistent"),
    ("INC-07", [("plate.bare_V", -0.12), ("plate.x02_V", 0.009)], "ok"),
    ("INC-08", [("sig.e_x0.2", 0.01)], "ok"),
    ("INC-09", [("sig.e_x0.3", 1.0), ("sig.e_x0.1", 3.0)], "ok"),
    ("INC-10", [("sig.t_x0.2", 1.40)], "ok"),
    ("INC-10", [("dens.rel_x0", 60.0)], "ok"),
    ("INC-11", [("fc.Rtot_concl", 174.0)], "ok"),
    ("INC-12", [("fc.cycQ0", 108.1)], "ok"),
    ("INC-13", [("fc.1C", 117.5), ("fc.Qch1", 117.0)], "ok"),
    ("INC-14", [("sym.Rb_x0", 118.7)], "inconsistent"),
    ("INC-14", [("dens.theory", 3.151)], "inconsistent"),
    ("INC-15", [("fc.ICE", 99.9)], "ok"),
    ("INC-16", [("xps.Zr3d_lo", 182.9, {"quote": "ascribed to Zr 3d3/2 and 3d5/2"})], "ok"),
    ("INC-18", [("cyc.h", 1350.0)], "ok"),
    ("INC-19", [("ccd.x02", 1.0)], "ok"),
    ("INC-20", [("dens.rel_x02", 98.0)], "ok"),
    ("INC-22", [("plate.x02_V", 0.09)], "ok"),
]


def test_every_check_says_what_it_should_of_the_publication():
    assert {finding.id: finding.status for finding in paper.check()} == EXPECTED


@pytest.mark.parametrize(("name", "changes", "then"), FLIPS)
def test_a_check_follows_the_numbers(printed, name, changes, then):
    assert EXPECTED[name] != then
    for value_id, value, *fields in changes:
        printed = printed.with_value(value_id, value, **(fields[0] if fields else {}))
    assert status(printed, name) == then


def test_every_check_can_come_out_otherwise():
    assert {name for name, _, _ in FLIPS} == set(EXPECTED)


def test_the_thickness_check_names_the_factor_and_mends_the_unit(printed):
    finding = paper.get("INC-02")
    assert finding.numbers["power_of_ten"] == 10.0
    assert finding.numbers["thickness_from_resistances_cm"] == pytest.approx(0.1074, rel=1e-3)
    assert "mm are cm" in finding.sentence
    by_hand = paper.derived(printed.with_value("sig.L_x0", 1.07))["d.sig_b_x0"]
    assert by_hand.value == pytest.approx(paper.derived()["d.sig_b_x0"].value, rel=1e-12)


def test_a_thickness_that_no_power_of_ten_mends_is_said_so(printed):
    finding = {f.id: f for f in paper.check(printed.with_value("sig.L_x0", 0.3))}["INC-02"]
    assert finding.status == "inconsistent"
    assert "no power of ten" in finding.sentence
    assert "mm are cm" not in finding.sentence


def test_an_impossible_literal_reading_is_named_as_such(printed):
    """With R_total falling faster than its parts allow, R_SE would be negative at 60 °C."""
    changed = printed.with_value("fc.Ea3", 0.45)
    finding = {f.id: f for f in paper.check(changed)}["INC-05"]
    assert "contradicts itself" in finding.sentence
    assert paper.derived(changed)["d.Ea_SE_literal"].value is None


def test_both_readings_are_there_and_neither_is_bulk():
    literal, alternative = paper.readings()
    assert literal.energies == {"R_ct,anodic": "fc.Ea1", "R_ct,cathodic": "fc.Ea2", "R_total": "fc.Ea3"}
    assert alternative.energies == {"R_SE": "fc.Ea1", "R_ct,anodic": "fc.Ea2", "R_ct,cathodic": "fc.Ea3"}
    assert literal.implied_eV[0] == pytest.approx(0.277, abs=1e-3)
    assert alternative.implied_eV[0] == pytest.approx(0.363, abs=1e-3)


def test_changing_a_copy_leaves_the_publication_alone(printed):
    printed.with_value("fc.Ea1", 0.5)
    assert paper.get("fc.Ea1").value == 0.27
    with pytest.raises(InputError, match=r"fc\.Ea1"):
        printed.with_value("fc.Ea1", 0.5, colour="red")


# --- lookup and command line


@pytest.mark.parametrize(("name", "hint"), [("fc.Ea4", "fc.Ea"), ("d.RSE1", "d.RSE"), ("INC-99", "INC-"), ("?", "")])
def test_an_unknown_id_names_the_nearest(name, hint):
    with pytest.raises(InputError) as error:
        paper.get(name)
    assert f"no '{name}'" in str(error.value)
    assert ("did you mean" in str(error.value)) == bool(hint)
    assert hint in str(error.value)


def test_unknown_group_and_anchor_and_value(printed):
    with pytest.raises(InputError, match="did you mean 'conductivity'"):
        paper.values("conductvity")
    with pytest.raises(InputError, match=r"did you mean 'lit\.Ea_bulk'"):
        printed.anchor("lit.Ea_bulks")
    with pytest.raises(InputError, match=r"did you mean 'fc\.Rtot'"):
        printed["fc.Rtott"]


@pytest.mark.parametrize("name", ["fc.Ea1", "fc.RSE_def", "cyc.j", "d.Ea_SE_literal", "lit.Ea_bulk", "INC-05"])
def test_show_prints_one_object_or_words(capsys, name):
    assert run(["paper", "show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == name
    assert run(["paper", "show", name]) == 0
    assert name in capsys.readouterr().out


def test_show_keeps_the_digits_that_were_printed(capsys):
    assert run(["paper", "show", "sym.Rgb_x0"]) == 0
    assert "85.0 ohm cm2" in capsys.readouterr().out


def test_list_and_check(capsys):
    assert run(["paper", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed["values"]) == len(paper.load().by_id)
    assert len(listed["derived"]) == len(paper.derived())
    assert run(["paper", "list", "--group", "Ea"]) == 0
    text = capsys.readouterr().out
    assert "0.45 eV" in text
    assert "d.RSE" not in text
    assert run(["paper", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"ok": 1, "inconsistent": 14, "cannot decide": 5}
    assert run(["paper", "check"]) == 0
    assert "INC-17" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["show", "fc.Ea4"], ["list", "--group", "Eb"], ["show"], ["shw", "fc.Ea1"], ["list", "--grup", "Ea"]]
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, command):
    assert run(["paper", *command]) == EXIT_WRONG_INPUT
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1


def test_reading_the_paper_needs_neither_torch_nor_pymatgen():
    code = ("import sys; from atomflow import paper, compare; paper.check(); "
            "print([m for m in ('torch', 'pymatgen', 'ase', 'scipy') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- the page


PAGE = Path(__file__).parent.parent / "docs" / "paper.md"


@pytest.mark.parametrize("line", re.findall(r"^atomflow (paper .*)$", PAGE.read_text(encoding="utf-8"), re.M))
def test_commands_of_the_page_run(line, capsys):
    assert run(line.split()) == 0
    assert capsys.readouterr().out


def test_python_of_the_page_runs():
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)
    exec(block, {})


def test_ids_and_numbers_of_the_page_are_those_of_the_code(computed):
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"INC-\d\d|\b(?:fc|sig|sym|d)\.[A-Za-z]\w*(?:\.\d)?", text))
    assert len(named) > 8
    for name in named:
        paper.get(name)
    for name, shown in (("d.Ea_SE_literal", "0.277"), ("d.Ea_tot_alternative", "0.363"), ("d.RSE", "26.7"),
                        ("d.sig_b_x0_maxwell", "1.40"), ("d.sig_b_x0_bruggeman", "1.44"), ("d.L_x0", "0.107")):
        assert f"{computed[name].value:.{len(shown.split('.')[1])}f}" == shown
        assert shown in text
