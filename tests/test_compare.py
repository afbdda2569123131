"""Comparisons of planted campaigns: the verdict is the numerical relation only where both numbers mean the same."""


import pytest
from compare_toys import COLD, HOT, NZSP, campaign, estimate, rows

from atomflow.compare import compare
from atomflow.compare.judge import relation
from atomflow.compare.ours import tolerance_K
from atomflow.estimate import Estimate

# --- intervals


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (Estimate(0.3, 0.2, 0.4), "overlaps"),
        (Estimate(0.3, 0.29, 0.31), "overlaps"),
        (Estimate(0.4, 0.36, 0.5), "above"),
        (Estimate(0.1, 0.05, 0.2), "below"),
        (Estimate.upper_limit(0.2), "below"),
        (Estimate.upper_limit(0.3), None),
        (Estimate.unknown(), None),
        (Estimate(0.3, None, None), None),
        (Estimate(0.3, None, 0.4), None),
        (None, None),
    ],
)
def test_relation_of_an_interval_to_0_25_to_0_35(ours, expected):
    assert relation(ours, 0.25, 0.35) == expected


# --- activation energies


@pytest.mark.parametrize(
    ("energy", "expected"),
    [((0.28, 0.26, 0.30), "overlaps"), ((0.40, 0.38, 0.42), "above"), ((0.15, 0.12, 0.18), "below")],
)
def test_inside_the_monoclinic_range_the_relation_is_the_verdict(energy, expected):
    found = rows(campaign(COLD, energy))
    for name in ("fc.Ea1.alternative", "lit.Ea_bulk", "d.Ea_SE.literal"):
        assert (found[name].numerical_relation, found[name].verdict) == (expected, expected)
        assert "monoclinic" in found[name].why
    assert "grains and boundaries in series" in found["fc.Ea1.alternative"].why


def test_high_temperatures_cannot_speak_of_room_temperature_even_where_intervals_touch():
    found = rows(campaign(HOT, (0.28, 0.22, 0.34)))
    row = found["fc.Ea1.alternative"]
    assert row.numerical_relation == "overlaps"
    assert row.verdict == "cannot say"
    assert "overlap as numbers, but" in row.why
    assert "rhombohedral" in row.why
    assert "nearly liquid" in row.why
    assert {r.verdict for r in found.values()} == {"cannot say"}


def test_the_transition_is_the_border():
    below, across = rows(campaign((300.0, 365.0, 430.0), (0.28, 0.26, 0.3))), rows(
        campaign((300.0, 365.0, 436.0), (0.28, 0.26, 0.3)))
    assert below["lit.Ea_bulk"].verdict == "overlaps"
    assert across["lit.Ea_bulk"].verdict == "cannot say"
    assert "across the transition" in across["lit.Ea_bulk"].why
    assert "nearly liquid" not in across["lit.Ea_bulk"].why


def test_between_the_transition_and_the_liquid_sublattice_only_the_hot_branch_is_comparable():
    found = rows(campaign((500.0, 600.0, 750.0, 900.0), (0.15, 0.12, 0.18)))
    assert found["lit.Ea_bulk_rhombohedral"].verdict == "overlaps"
    assert "monoclinic shape" in found["lit.Ea_bulk_rhombohedral"].why
    data = campaign((500.0, 600.0, 750.0, 900.0), (0.15, 0.12, 0.18))
    for item in data["groups"]:
        item["cell"] = {**NZSP, "angles_deg": [90.0, 90.0, 120.0]}
    assert "monoclinic shape" not in rows(data)["lit.Ea_bulk_rhombohedral"].why
    assert found["lit.Ea_bulk"].verdict == "cannot say"
    assert rows(campaign(COLD, (0.15, 0.12, 0.18)))["lit.Ea_bulk_rhombohedral"].verdict == "cannot say"
    assert rows(campaign(HOT, (0.15, 0.12, 0.18)))["lit.Ea_bulk_rhombohedral"].verdict == "cannot say"


def test_electrodes_and_whole_cells_are_never_compared_with_a_crystal():
    found = rows(campaign(COLD, (0.45, 0.44, 0.46)))
    for name in ("fc.Ea2.literal", "fc.Ea2.alternative"):
        assert found[name].numerical_relation == "overlaps"
        assert found[name].verdict == "cannot say"
        assert "electrode" in found[name].why
    assert "R_total adds" in found["fc.Ea3.literal"].why
    assert found["fc.Ea3.literal"].verdict == "cannot say"


def test_both_readings_of_all_three_energies_are_shown():
    found = compare(campaign(COLD, (0.28, 0.26, 0.30))).rows
    shown = {(row.target.reading, row.target.quantity, row.target.value) for row in found if row.target.reading}
    assert {("literal", "Ea of R_ct,anodic", 0.27), ("literal", "Ea of R_ct,cathodic", 0.45),
            ("literal", "Ea of R_total", 0.33), ("alternative", "Ea of R_SE", 0.27),
            ("alternative", "Ea of R_ct,anodic", 0.45), ("alternative", "Ea of R_ct,cathodic", 0.33)} <= shown


@pytest.mark.parametrize(("low", "expected"), [(0.3015, "overlaps"), (0.3035, "above")])
def test_the_unstated_convention_widens_the_paper_upwards_by_kT(low, expected):
    """0.27 + 0.005 rounding + 0.0272 eV: the upper end is 0.3022 eV."""
    assert rows(campaign(COLD, (0.32, low, 0.34)))["fc.Ea1.alternative"].verdict == expected


@pytest.mark.parametrize(("high", "expected"), [(0.2655, "overlaps"), (0.2645, "below")])
def test_and_not_downwards(high, expected):
    assert rows(campaign(COLD, (0.25, 0.24, high)))["fc.Ea1.alternative"].verdict == expected


def test_uncertainty_is_stated():
    row = compare(campaign(COLD, (0.28, 0.26, 0.30))).rows[0].to_json()
    assert "no error bar" in row["paper"]["uncertainty"]
    assert "±0.005" in row["paper"]["uncertainty"]
    assert "0.027 eV" in row["paper"]["uncertainty"]


def test_a_wide_interval_is_told_that_its_overlap_decides_little():
    assert "decides little" in rows(campaign(COLD, (0.3, 0.1, 0.5)))["lit.Ea_bulk"].why
    assert "decides little" not in rows(campaign(COLD, (0.28, 0.26, 0.3)))["lit.Ea_bulk"].why


@pytest.mark.parametrize(("kink", "expected"), [
    ({"temperature_K": 350.0, "p_value": 0.01}, "cannot say"),
    ({"temperature_K": 350.0, "p_value": 0.4}, "overlaps"),
    ({"temperature_K": 350.0, "p_value": 0.4, "significant": True}, "cannot say"),
])  # fmt: skip
def test_a_bent_line_is_no_single_energy(kink, expected):
    found = rows(campaign(COLD, (0.28, 0.26, 0.30), kink=kink))
    assert found["lit.Ea_bulk"].verdict == expected
    assert ("bends" in found["lit.Ea_bulk"].why) == (expected == "cannot say")


def test_upper_limits_unknowns_and_single_temperatures_work():
    limit = rows(campaign(COLD, (None, None, 0.15)))["lit.Ea_bulk"]
    assert (limit.numerical_relation, limit.verdict) == ("below", "below")
    open_limit = rows(campaign(COLD, (None, None, 0.4)))["lit.Ea_bulk"]
    assert (open_limit.numerical_relation, open_limit.verdict) == (None, "cannot say")
    assert "upper limit" in open_limit.why
    bare = rows(campaign(COLD, (0.28, None, None)))["lit.Ea_bulk"]
    assert bare.verdict == "cannot say"
    assert "without an interval" in bare.why
    unknown = rows(campaign(COLD, (None, None, None), used=[], upper_limits=list(COLD)))["lit.Ea_bulk"]
    assert unknown.ours is None
    assert "several temperatures" in unknown.why
    single = rows(campaign((300.0,)))["lit.Ea_bulk"]
    assert single.verdict == "cannot say"
    assert "number of those with a result is 1" in single.why
    single_fit = rows(campaign((300.0,), (None, None, None)))["lit.Ea_bulk"]
    assert single_fit.verdict == "cannot say"


def test_an_empty_campaign_still_shows_the_paper():
    found = compare({"kind": "campaign", "name": "empty", "groups": [], "arrhenius": []})
    assert {row.target.id for row in found.rows} >= {"fc.Ea1.literal", "fc.Ea1.alternative", "sig.t_x0.2"}
    assert {(row.ours, row.numerical_relation, row.verdict) for row in found.rows} == {(None, None, "cannot say")}
    assert found.notes


# --- conductivities and diffusivities


def test_a_run_at_room_temperature_is_compared_by_its_charge_diffusivity():
    found = rows(campaign(COLD, (0.28, 0.26, 0.30)))
    assert found["sig.t_x0"].verdict == "above"  # 1.0-1.8 against 0.53 mS/cm
    assert found["sig.t_x0.1"].verdict == "overlaps"  # 1.19
    assert found["d.sig_b_x0"].verdict == "overlaps"  # 0.91-1.44
    assert found["lit.sigma_bulk"].verdict == "overlaps"
    row = found["d.Dsig_x0.2"]  # 2.29e-8 within 1.4-2.6e-8, where the tracer, 0.8-1.2e-8, would be below
    assert row.verdict == "overlaps"
    assert row.ours.value == pytest.approx(2e-8, rel=1e-12)
    assert "300 K" in row.ours_conditions


def test_conductivity_is_held_in_the_unit_of_the_paper():
    row = rows(campaign(COLD, (0.28, 0.26, 0.30)))["sig.t_x0"].to_json()
    assert row["unit"] == row["paper"]["unit"] == "mS/cm"
    assert row["ours"]["value"] == pytest.approx(1.4, rel=1e-12)


@pytest.mark.parametrize(("sigma", "expected"), [((4e-3, 3e-3, 5e-3), "above"), ((1e-4, 5e-5, 2e-4), "below")])
def test_conductivity_above_and_below(sigma, expected):
    data = campaign((300.0,))
    data["groups"][0]["conductivity_S_per_cm"] = estimate(*sigma)
    found = rows(data)
    for name in ("sig.t_x0", "sig.t_x0.3", "d.sig_b_x0", "lit.sigma_bulk"):
        assert found[name].verdict == expected


def test_an_upper_limit_of_conductivity():
    data = campaign((300.0,))
    data["groups"][0]["conductivity_S_per_cm"] = estimate(None, None, 1e-4)
    assert rows(data)["sig.t_x0"].verdict == "below"
    data["groups"][0]["conductivity_S_per_cm"] = estimate(None, None, 1e-2)
    assert rows(data)["sig.t_x0"].verdict == "cannot say"


def test_without_a_cold_run_conductivity_has_no_number_and_says_which_run_is_closest():
    row = rows(campaign(HOT, (0.28, 0.26, 0.30)))["sig.t_x0.2"]
    assert row.ours is None
    assert row.verdict == "cannot say"
    assert "800 K" in row.why


def test_an_extrapolated_tracer_diffusivity_is_no_charge_diffusivity():
    row = rows(campaign((330.0, 365.0, 400.0), (0.28, 0.26, 0.30)))["d.Dsig_x0.2"]
    assert row.numerical_relation == "overlaps"
    assert row.verdict == "cannot say"
    assert "Haven ratio" in row.why
    assert "rhombohedral" not in row.why
    assert "502 K below" in row.why
    assert "rhombohedral" in rows(campaign(HOT, (0.28, 0.26, 0.30)))["d.Dsig_x0.2"].why


def test_how_close_a_run_must_be_to_a_temperature():
    assert 1.85 < tolerance_K(298.15) < 2.5  # 300 K counts as 298 K, 301 K does not
    assert "sig.t_x0" in rows(campaign((300.0,)))
    assert rows(campaign((300.0,)))["sig.t_x0"].ours is not None
    assert rows(campaign((301.0,)))["sig.t_x0"].ours is None


def test_a_recorded_mean_temperature_counts_before_the_one_asked_for():
    data = campaign((300.0,))
    data["groups"][0]["temperature_mean_K"] = 312.0
    assert rows(data)["sig.t_x0"].ours is None


def test_literature_at_other_temperatures_appears_only_where_a_run_was_taken():
    assert "lit.D_tracer_623K" not in rows(campaign(HOT, (0.1, 0.05, 0.15)))
    data = campaign((573.0, 623.0))
    data["groups"][1]["tracer_diffusivity_cm2_per_s"] = estimate(5e-6, 4e-6, 6e-6)
    data["groups"][0]["conductivity_S_per_cm"] = estimate(0.01, 0.005, 0.02)
    found = rows(data)
    assert found["lit.D_tracer_623K"].verdict == "overlaps"
    assert "simulation too" in found["lit.D_tracer_623K"].why
    assert found["lit.sigma_total_573K"].verdict == "below"
    assert "monoclinic shape" in found["lit.sigma_total_573K"].why
