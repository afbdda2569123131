"""Pieces of the report: markup that stays text, numbers with their intervals, the view of a cell."""

import json
import math
import re
import subprocess
import sys

import pytest
from report_page import Page
from synthetic import ordered_cell, write_run

from atomflow import report
from atomflow.errors import InputError
from atomflow.report.cellview import view_of_cell
from atomflow.report.html import json_script, table, tag
from atomflow.report.numbers import interval


def test_names_that_are_markup_stay_text(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    folder = tmp_path / "c"
    write_run(folder / "runs" / "a", 900, 2e-5, structure=evil, n_frames=60, warnings=[evil])
    (folder / "campaign.json").write_text(json.dumps({"name": evil, "note": evil}))
    page = Page(report.build(folder))
    assert len(page.of("script")) == 2  # the data and the viewer
    assert not page.of("img")
    assert not [a for _, a in page.elements if "onerror" in a]
    assert evil in " ".join(page.words)
    view = json.loads(re.search(r'id="cell-views">(.*?)</script>', page.source, re.DOTALL)[1])
    assert view[0]["name"] == evil


def test_a_folder_that_cannot_be_written_names_the_way_out(tmp_path):
    """A shared folder is often read-only; root may write anywhere, so a file stands in the way here."""
    write_run(tmp_path / "run", 900, 2e-5, n_frames=60)
    (tmp_path / "run" / "figures").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*figures: .*; -o \(output=...\) puts it elsewhere"):
        report.build(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    assert report.build(tmp_path / "run", tmp_path / "mine" / "page.html").is_file()


def test_html_escapes_whatever_is_not_markup():
    shown = tag("p", "<b>", class_='"x"', data_low=1.5, hidden=False)
    assert shown == '<p class="&quot;x&quot;" data-low="1.5">&lt;b&gt;</p>'
    assert "<i>" not in table("<i>", ["<i>"], [["<i>", "<i>"]])
    assert "</script" not in json_script("x", ["</script>"])[:-9]


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        ({"value": 1.234e-5, "low": 8.1e-6, "high": 1.9e-5}, "1.2 [0.8, 1.9] × 10⁻⁵"),
        ({"value": 0.318, "low": 0.24, "high": 0.40}, "0.32 [0.24, 0.40]"),
        ({"value": 0.3181, "low": 0.3176, "high": 0.3186}, "0.3181 [0.3176, 0.3186]"),
        ({"value": None, "low": None, "high": 3e-7}, "< 3.0 × 10⁻⁷"),
        ({"value": None, "low": None, "high": None}, "—"),
        ({"value": 2.0, "low": None, "high": None}, "2.0 (no interval)"),
        (None, "—"),
    ],
)
def test_numbers_show_their_interval(estimate, shown):
    assert interval(estimate) == shown


def test_energies_are_written_without_powers_of_ten():
    assert interval({"value": -9.8e-4, "low": -0.0141, "high": 0.0122}, plain=True) == "-0.00 [-0.01, 0.01]"
    assert interval({"value": 0.318, "low": 0.316, "high": 0.32}, plain=True) == "0.318 [0.316, 0.320]"


def test_the_view_completes_every_polyhedron_with_images():
    cell = ordered_cell()
    view = view_of_cell(cell)
    element = [view["elements"][kind] for kind in view["kinds"]]
    assert len(element) == len(view["positions"]) == 80 + view["images"]
    neighbours = {name: [] for name in ("Zr", "Si", "P")}
    for atom in range(80):
        if element[atom] in neighbours:
            ends = [b for a, b in view["bonds"] if a == atom]
            neighbours[element[atom]].append(len(ends))
            assert all(1.4 < math.dist(view["positions"][atom], view["positions"][end]) < 2.65 for end in ends)
            assert all(element[end] == "O" for end in ends)
    assert neighbours == {"Zr": [6] * 8, "Si": [4] * 8, "P": [4] * 4}


def test_the_report_needs_neither_torch_nor_pymatgen(tmp_path):
    code = (
        "import sys; from atomflow import report; report.build(sys.argv[1], sys.argv[2]);"
        "print(sorted({'torch', 'pymatgen', 'mace', 'chgnet'} & set(sys.modules)))"
    )
    folder = write_run(tmp_path / "run", 900, 2e-5, n_frames=60)
    arguments = [sys.executable, "-c", code, str(folder), str(tmp_path / "r.html")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_interval_over_many_powers_of_ten_shows_both_ends():
    far = interval({"value": 2.8e-6, "low": 6.7e-9, "high": 1.2e-3, "level": 0.95})
    assert far == "2.8 × 10⁻⁶ [6.7 × 10⁻⁹, 1.2 × 10⁻³]"
