import dataclasses
import json
import re

import pytest
from report_page import Page
from synthetic import POTENTIAL, diffusivity_cm2_per_s, ordered_cell, write_campaign, write_run

from atomflow import report, transport
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.report.numbers import interval
from atomflow.runs import RunWriter

EA_EV, D0 = 0.32, 1.5e-3


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign") / "bulk"
    return write_campaign(folder, (600, 750, 900), seeds=(1, 2), d0_cm2_per_s=D0, ea_eV=EA_EV, n_frames=500)


@pytest.fixture(scope="module")
def path(campaign):
    return report.build(campaign)


@pytest.fixture(scope="module")
def page(path):
    return Page(path)


# --- what the page holds --------------------------------------------------------------------------------------


def test_every_interval_of_the_analysis_stands_in_the_page_in_full_and_in_words(campaign, page):
    result = transport.analyze_campaign(campaign).to_json()
    numbers = [
        group[name]
        for group in result["groups"]
        for name in (
            "tracer_diffusivity_cm2_per_s",
            "charge_diffusivity_cm2_per_s",
            "haven_ratio",
            "conductivity_S_per_cm",
            "nernst_einstein_conductivity_S_per_cm",
        )
    ]
    fit = result["arrhenius"][0]
    numbers += [fit["activation_energy_eV"], fit["activation_energy_sigmaT_eV"], fit["prefactor_cm2_per_s"]]
    numbers.append(fit["extrapolation"]["tracer_diffusivity_cm2_per_s"])
    assert len(numbers) == 3 * 5 + 4
    shown = [(cell["data-value"], cell["data-low"], cell["data-high"]) for cell in page.of("td") if "data-low" in cell]
    for number in numbers:
        assert tuple(str(number[name]) for name in ("value", "low", "high")) in shown
        assert interval(number) in page.text or interval(number, plain=True) in page.text


def test_the_activation_energy_put_in_comes_out_in_the_first_sentence(page):
    found = re.search(r"Ea = ([\d.]+) \[([\d.]+), ([\d.]+)\] eV \(95 % interval\)", page.text)
    assert found
    value, low, high = map(float, found.groups())
    assert low < value < high
    assert low <= EA_EV <= high


def test_the_page_names_potential_cell_settings_and_versions(page):
    identity = (POTENTIAL["name"], POTENTIAL["sha256"], POTENTIAL["reference"])
    cell = ("Na12Zr8Si8P4O48", "3.243 g/cm³", ordered_cell().sha256)
    for words in (*identity, *cell, "frame_interval_fs", "bussi", "numpy"):
        assert words in page.text


def test_both_readings_of_the_papers_energies_stand_beside_ours_with_verdict_and_reason(page):
    table_text = page.text[page.text.index("activation energies quantity reading") :]
    for value in ("0.27 eV", "0.45 eV", "0.33 eV"):
        assert table_text.count(value) >= 2
    assert "literal" in table_text
    assert "alternative" in table_text
    assert "cannot say" in table_text


def test_the_page_asks_for_nothing_and_lets_only_its_own_script_run(page):
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", page.source)
    assert "@import" not in page.source
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)


def test_the_page_can_be_read_without_eyes(page):
    tables = page.of("table")
    assert len(tables) == len(page.of("caption")) >= 5
    assert all(svg.get("role") == "img" and len(svg["aria-label"]) > 40 for svg in page.of("svg"))
    canvas = page.of("canvas")[0]
    assert canvas["tabindex"] == "0"
    assert canvas["aria-describedby"] in {attributes.get("id") for _, attributes in page.elements}
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for a in page.of("a") if a["href"].startswith("#")]
    assert set(links) <= set(ids)


def test_figures_are_one_column_wide_at_print_resolution_and_not_empty(campaign):
    import matplotlib.image

    for name in ("arrhenius", "msd_ordered", "runs_ordered"):
        image = matplotlib.image.imread(campaign / "figures" / f"{name}.png")
        assert image.shape[1] == 990  # 3.3 in × 300 dpi
        ink = (image[..., :3].min(axis=2) < 0.9).mean()
        assert 0.01 < ink < 0.8, name
        assert (campaign / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_the_arrhenius_line_passes_through_its_points(campaign):
    from atomflow.report.collect import collect

    data = collect(campaign)
    band = data.result["arrhenius"][0]["band"]
    assert band[0]["temperature_K"] > 850
    assert band[-1]["temperature_K"] == pytest.approx(298.15)
    hot = diffusivity_cm2_per_s(band[0]["temperature_K"], D0, EA_EV)
    cold = diffusivity_cm2_per_s(298.15, D0, EA_EV)
    assert 0.7 < band[0]["value"] / hot < 1.4
    assert band[-1]["low"] < cold < band[-1]["high"]
    assert all(point["low"] < point["value"] < point["high"] for point in band)
    assert len(data.paper_points) == 4
    assert all(1e-9 < point["diffusivity_cm2_per_s"] < 1e-7 for point in data.paper_points)


def test_cells_that_name_their_sites_have_a_table_of_occupancies_and_hops(tmp_path):
    cell = ordered_cell()
    ions = cell.symbols == "Na"
    names = ["Na1"] * 4 + ["Na2"] * 8
    sites = {"names": names, "fractional": cell.fractional[ions].tolist()}
    named = dataclasses.replace(cell, provenance={"na_sites": sites})
    write_run(tmp_path / "run", 300, 1e-9, n_frames=60, cell=named)
    page = Page(report.build(tmp_path / "run"))
    row = page.text[page.text.index("too short to count run") :]
    assert "Sites and hops" in page.text
    assert re.search(r"300 1\.00 1\.00 0 0 — — 0", row)


# --- campaigns that went wrong --------------------------------------------------------------------------------


def test_a_campaign_in_which_nothing_diffuses_shows_upper_limits_and_no_energy(tmp_path):
    write_campaign(tmp_path / "c", (400, 500), seeds=(1,), d0_cm2_per_s=1e-9, n_frames=200)
    page = Page(report.build(tmp_path / "c"))
    assert "No diffusion was seen" in page.text
    assert "Ea =" not in page.text
    limits = [cell for cell in page.of("td") if "data-high" in cell and "data-value" not in cell]
    assert len(limits) >= 2
    assert all(float(cell["data-high"]) > 0 for cell in limits)
    assert page.text.count("< ") >= 2
    assert (tmp_path / "c" / "figures" / "arrhenius.png").is_file()


def test_one_temperature_gives_a_diffusivity_and_says_why_there_is_no_energy(tmp_path):
    write_campaign(tmp_path / "c", (800,), seeds=(1, 2), n_frames=300)
    page = Page(report.build(tmp_path / "c"))
    assert re.search(r"D\(Na\) = [\d.]+ \[[\d.]+, [\d.]+\] × 10⁻⁵ cm²/s at (799|80[01]) K", page.text)
    assert "there is no activation energy, because 1 temperature" in page.text


def test_unfinished_failed_and_broken_runs_are_named_before_any_number(tmp_path):
    folder = write_campaign(tmp_path / "c", (900,), seeds=(1,), n_frames=200)
    d = diffusivity_cm2_per_s(900, D0, EA_EV)
    runs = folder / "runs"
    write_run(runs / "half", 800, d, n_frames=100, state="stopped", reason="walltime")
    write_run(runs / "boom", 1000, d, n_frames=100, state="failed", reason="atom 7 moved 40 Å in one step")
    write_run(runs / "odd", 700, d, n_frames=100, warnings=["the neighbour list was rebuilt every step"])
    write_run(runs / "torn", 750, d, n_frames=100)
    (runs / "torn" / "trajectory.h5").write_bytes(b"not a trajectory")
    write_run(runs / "garbled", 750, d, n_frames=100)
    (runs / "garbled" / "run.json").write_text('{"format": "atomflow-run", "state":')
    page = Page(report.build(folder))
    warnings = page.text[page.text.index("Before you believe it") : page.text.index("Diffusion Tracer diffusivity")]
    for words in ("half (walltime)", "atom 7 moved 40 Å", "rebuilt every step", "torn", "garbled"):
        assert words in warnings


def test_a_campaign_of_which_nothing_ran_is_a_page_all_the_same(tmp_path):
    cell = ordered_cell().summary()
    plan = {"name": "planned", "potential": POTENTIAL, "structures": {"ordered": cell}}
    plan["tasks"] = [{"id": "a"}, {"id": "b"}]
    (tmp_path / "campaign.json").write_text(json.dumps(plan))
    page = Page(report.build(tmp_path))
    assert "Campaign planned" in page.text
    assert "2 runs not begun: a, b" in page.text
    assert cell["sha256"] in page.text
    assert POTENTIAL["sha256"] in page.text
    assert "no diffusivity and no activation energy" in page.text
    assert "cell-views" not in page.source.replace("getElementById", "")


def test_only_failed_runs(tmp_path):
    write_run(tmp_path / "runs" / "a", 900, 1e-5, n_frames=40, state="failed", reason="NaN in the forces at step 12")
    page = Page(report.build(tmp_path))
    assert "NaN in the forces at step 12" in page.text
    assert "no diffusivity" in page.text


def test_a_run_that_has_only_begun_shows_its_cell_and_no_number(tmp_path):
    cell = ordered_cell()
    with RunWriter.create(tmp_path / "r", {"temperature_K": 900.0}, cell, POTENTIAL, {"structure": "ordered"}, 500):
        page = Page(report.build(tmp_path / "r"))
        assert "1 run prepared: r" in page.text
        assert "no diffusivity" in page.text
        assert cell.sha256 in page.text
        assert len(page.of("canvas")) == 1


def test_a_single_run_folder_has_a_report_of_its_own(tmp_path):
    write_run(tmp_path / "alone", 900, 2e-5, n_frames=300)
    path = report.build(tmp_path / "alone", tmp_path / "elsewhere.html")
    page = Page(path)
    assert path == tmp_path / "elsewhere.html"
    assert (tmp_path / "figures" / "msd_ordered.pdf").is_file()
    assert "Run alone" in page.text
    assert "one run has one temperature" in page.text
    assert "its standard error (K)" in page.text
    assert "12.3" in page.text  # of a mean of 903.6 K


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "there is no folder"),
        (("empty",), "holds no campaign and no run"),
        (("made", "-o", "absent/report.html"), "does not exist"),
        (("made", "-o", "empty"), "is a folder"),
    ],
)
def test_what_cannot_be_reported_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "campaign.json").write_text("{}")
    assert command(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_a_full_or_read_only_disk_is_an_input_error_that_leaves_no_pieces(tmp_path, monkeypatch):
    (tmp_path / "campaign.json").write_text("{}")

    def no_room(*_, **__):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("pathlib.Path.write_text", no_room)
    with pytest.raises(InputError, match="No space left"):
        report.build(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"campaign.json"}


def test_the_command_prints_the_path_and_one_json_object(tmp_path, capsys):
    (tmp_path / "campaign.json").write_text("{}")
    assert command(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert command(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(tmp_path / "report.html"), "figures": []}
