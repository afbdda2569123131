"""Put the page together and write it, whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from atomflow.errors import InputError, check_place
from atomflow.report import record, results, sites, words
from atomflow.report.cellview import views
from atomflow.report.collect import ReportData, collect
from atomflow.report.figures import Figure, arrhenius, msd, traces
from atomflow.report.html import Html, asset, join, json_script, tag, text
from atomflow.version import __version__

_SECTIONS = ("Answer", "Diffusion", "Paper", "Cell", "Runs", "Potential", "Settings")


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Collect, draw and write; see :func:`atomflow.report.build`."""
    data = collect(folder)
    path = Path(folder) / "report.html" if output is None else Path(output)
    check_place(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the HTML file to write")
    try:
        page = render(data, path.parent / "figures")
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        hint = "; -o (output=...) puts it elsewhere" if output is None else ""
        raise InputError(f"cannot write {error.filename or path}: {error.strerror or error}{hint}") from None
    return path


def render(data: ReportData, figure_folder: Path) -> str:
    """The whole page as text; figures are written to ``figure_folder`` on the way."""
    line = arrhenius.draw(data.result, data.paper_points, figure_folder)
    curves = _drawn(msd.draw(s, words.groups_of(data, s), figure_folder) for s in data.structures)
    health = _drawn(traces.draw(s, [r for r in data.runs if r.structure == s], figure_folder) for s in data.structures)
    shown = views(data.runs, data.structures)
    body = join(
        [
            _header(data),
            tag(
                "main",
                _answer(data),
                _warnings(data),
                results.diffusion(data, line, curves),
                results.paper(data),
                record.cells(data, shown),
                sites.section(data),
                record.runs(data, health),
                record.potentials(data),
                record.settings(data),
            ),
            tag(
                "footer",
                f"Written by atomflow {__version__} on {datetime.now(UTC):%d %B %Y, %H:%M} UTC from {data.name}.",
            ),
        ]
    )
    return _page(_title(data), body, json_script("cell-views", shown) if shown else Html(""))


def _drawn(figures: object) -> list[Figure]:
    return [figure for figure in figures if figure is not None]  # type: ignore[attr-defined]


def _page(title: str, body: Html, data: Html) -> str:
    """The template filled in. Only the script whose checksum stands in the page's policy can run in it."""
    script = asset("cell_view.js") if data else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(asset("report.html")).substitute(
        title=text(title),
        version=__version__,
        style=asset("report.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        body=body,
        data=data,
    )


def _title(data: ReportData) -> str:
    return f"{'Campaign' if data.kind == 'campaign' else 'Run'} {data.name}: Na transport"


def _header(data: ReportData) -> Html:
    states: dict[str, int] = {}
    for run in data.runs:
        states[run.state] = states.get(run.state, 0) + 1
    if data.waiting:
        states["not begun"] = len(data.waiting)
    counted = ", ".join(f"{count} {state}" for state, count in states.items()) or "none yet"
    links = (tag("a", name, href=f"#{name.lower()}") for name in _SECTIONS)
    return tag(
        "header",
        tag("h1", _title(data)),
        tag("p", f"Molecular dynamics of Na transport. Runs: {counted}.", class_="subtitle"),
        tag("nav", *links, aria_label="sections"),
    )


def _answer(data: ReportData) -> Html:
    parts = [tag("p", paragraph) for paragraph in words.answer(data)]
    beyond = words.limits(data)
    if beyond:
        parts += [tag("p", "It cannot say:"), tag("ul", *(tag("li", limit) for limit in beyond))]
    return tag("section", tag("h2", "Answer"), *parts, class_="answer", id="answer", aria_label="answer")


def _warnings(data: ReportData) -> Html:
    found = words.all_warnings(data)
    if not found:
        return Html("")
    parts: list[Html] = []
    for title, texts in found.items():
        parts += [tag("h3", title), tag("ul", *(tag("li", line) for line in texts))]
    return tag(
        "section", tag("h2", "Before you believe it"), *parts, class_="warnings", id="warnings", aria_label="warnings"
    )
