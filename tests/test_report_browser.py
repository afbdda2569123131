"""The report in a browser: tables, the cell that turns, no request to anywhere."""

import re

import pytest
from chromium import Chromium, find_chromium
from synthetic import ordered_cell, write_campaign, write_run

from atomflow import report
from atomflow.cell import Cell

PIXELS = "document.querySelector('canvas').toDataURL()"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign") / "bulk"
    write_campaign(folder, (600, 750, 900), seeds=(1, 2), d0_cm2_per_s=1.5e-3, ea_eV=0.32, n_frames=500)
    return report.build(folder)


@pytest.fixture(scope="module")
def browser(path):
    if find_chromium() is None:
        pytest.skip("no chromium found; `apt-get install chromium` (or set ATOMFLOW_CHROMIUM) to test the page in it")
    with Chromium() as browser:
        browser.open(path)
        yield browser


def _canvas(browser):
    browser.evaluate("document.querySelector('canvas').scrollIntoView({block: 'center', behavior: 'instant'})")
    browser.settle()
    edges = "(r => [r.x, r.y, r.width, r.height])(document.querySelector('canvas').getBoundingClientRect())"
    box = browser.evaluate(edges)
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def test_a_browser_sees_the_tables_and_the_cell(browser):
    assert browser.evaluate("document.querySelectorAll('#comparison tbody tr').length") >= 6
    text = browser.evaluate("document.querySelector('#arrhenius-fits').innerText")
    assert "Ea from ln D" in text
    assert re.search(r"0\.\d+ \[0\.\d+, 0\.\d+\]", text)
    inked = browser.evaluate(
        "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".reduce((n, v, i) => n + (i % 4 == 3 && v > 0), 0) / (c.width * c.height))(document.querySelector('canvas'))"
    )
    assert 0.03 < inked < 0.9


def test_the_cell_turns_by_mouse_and_by_key_zooms_and_comes_back(browser):
    x, y = _canvas(browser)
    browser.evaluate("document.querySelector('[data-part=reset]').click()")
    browser.settle()
    start = browser.evaluate(PIXELS)
    browser.drag((x, y), (x + 120, y + 40))
    dragged = browser.evaluate(PIXELS)
    assert dragged != start
    browser.evaluate("document.querySelector('canvas').focus()")
    seen = {start, dragged}
    for key in ("ArrowLeft", "ArrowUp", "+"):
        browser.press(key)
        picture = browser.evaluate(PIXELS)
        assert picture not in seen, key
        seen.add(picture)
    browser.wheel((x, y), -120)
    assert browser.evaluate(PIXELS) not in seen
    browser.press("0")
    assert browser.evaluate(PIXELS) == start


def test_elements_bonds_and_frames_can_be_chosen(browser):
    _canvas(browser)
    seen = {browser.evaluate(PIXELS)}
    for choice in ("[data-part=elements] button", "[data-part=bonds]", "[data-part=box]", "[data-part=paths]"):
        before = browser.evaluate(f"document.querySelector('{choice}').getAttribute('aria-pressed')")
        browser.evaluate(f"document.querySelector('{choice}').click()")
        browser.settle()
        assert browser.evaluate(f"document.querySelector('{choice}').getAttribute('aria-pressed')") != before
        picture = browser.evaluate(PIXELS)
        assert picture not in seen, choice
        seen.add(picture)
    browser.evaluate("document.querySelector('[data-part=elements] button').click()")
    slide = "(e => { e.value = 30; e.dispatchEvent(new Event('input')); })"
    browser.evaluate(f"{slide}(document.querySelector('[data-part=frame]'))")
    browser.settle()
    assert browser.evaluate("document.querySelector('[data-part=time]').value").endswith(" ps")
    assert browser.evaluate(PIXELS) not in seen


def test_another_structure_can_be_chosen(browser, tmp_path):
    small = Cell([11, 8], [[0, 0, 0], [2.4, 0, 0]], [[5, 0, 0], [0, 5, 0], [-1, 0, 5]])
    for name, cell in (("ordered", ordered_cell()), ("salt", small)):
        write_run(tmp_path / "c" / "runs" / name, 900, 2e-5, structure=name, n_frames=30, cell=cell)
    browser.open(report.build(tmp_path / "c"))
    before = browser.evaluate(PIXELS)
    choose = "(s => { s.value = 1; s.dispatchEvent(new Event('change')); })"
    browser.evaluate(f"{choose}(document.querySelector('[data-part=choice]'))")
    browser.settle()
    assert browser.evaluate(PIXELS) != before
    label = browser.evaluate("document.querySelector('canvas').getAttribute('aria-label')")
    assert label == "Cell salt: 2 atoms of Na, O"
    assert browser.complaints() == []


def test_the_page_fits_a_telephone(browser):
    browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=2, mobile=True)
    browser.settle()
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_no_console_error_and_no_request_to_anywhere(browser):
    browser.evaluate("document.querySelector('[data-part=play]').click()")
    browser.settle()
    browser.evaluate("document.querySelector('[data-part=play]').click()")
    assert any(event["method"] == "Network.requestWillBeSent" for event in browser.events)  # the page itself was heard
    assert browser.requests() == []
    assert browser.complaints() == []


def test_the_browser_would_have_told(browser):
    """The two lists above are empty because the page is good, not because nobody listens."""
    browser.evaluate("console.error('wrong'); fetch('https://atomflow.invalid/').catch(() => 0)")
    browser.settle()
    assert browser.complaints()
    assert any("atomflow.invalid" in text for text in (*browser.requests(), *browser.complaints()))
