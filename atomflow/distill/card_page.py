"""The card as one self-contained HTML page, with the same facts as JSON beside it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.errors_table import Pair
from atomflow.distill.frames import labels_of
from atomflow.distill.goals import goals
from atomflow.errors import InputError
from atomflow.estimate import Estimate

_COLUMNS = {
    "group": "group", "frames": "frames", "systems": "systems", "force_rmse_eV_per_A": "force RMSE, eV/Å [95 %]",
    "force_mae_eV_per_A": "force MAE, eV/Å", "force_rms_eV_per_A": "RMS force, eV/Å", "slope": "slope",
    "energy_rmse_meV_per_atom": "energy RMSE, meV/atom", "energy_spread_meV_per_atom": "energy spread, meV/atom",
    "stress_rmse_GPa": "stress RMSE, GPa",
}


def write_card(data: dict[str, Any], path: str | Path) -> Path:
    """One self-contained HTML file, with the same facts, without figures, as JSON beside it (``.json``)."""
    path = Path(path)
    try:
        path.with_suffix(".json").write_text(json.dumps(_without_figures(data), indent=2, allow_nan=False) + "\n")
        path.write_text(_page(data), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _without_figures(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_figures(value) for key, value in data.items() if key != "figure_png"}
    return [_without_figures(value) for value in data] if isinstance(data, list) else data


def _page(data: dict[str, Any]) -> str:
    identity = data["potential"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(identity['name'])}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(identity['name'])}</h1>",
        f"<p>{html.escape(identity['trained_for'])}. Cutoff {identity['cutoff_A']:g} Å; elements "
        f"{', '.join(identity['elements'])}; sha256 <code>{identity['sha256'][:16]}…</code></p>",
        "<p>All errors are against the teacher, on systems that were not trained on. They are no errors against "
        "experiment or DFT: the teacher has its own.</p>",
        "<h2>What was asked, and what was measured</h2>",
        _table(["", "asked", "measured", ""], goals(data)),
        *_errors(data), *_sections(data),
        "<h2>Training and checks</h2>",
        f"<pre>{html.escape(json.dumps(data['about'], indent=2))}</pre></html>",
    ]
    return "\n".join(parts)


def _errors(data: dict[str, Any]) -> list[str]:
    """The tables of errors on held-out systems."""
    if "by_family" not in data:
        return ["<h2>Errors on held-out systems</h2><p>Not measured: no labelled held-out frames were given.</p>"]
    return [
        f"<img alt='Force parity and errors' src='data:image/png;base64,{data['figure_png']}'>",
        "<h2>By kind of system</h2>", _rows(data["by_family"]),
        "<h2>By temperature of the dynamics</h2>", _rows(data["by_temperature"]),
        "<h2>By element</h2>", _elements(data["by_element"]),
        "<h2>The worst systems</h2>", _rows(data["worst_systems"]),
    ]


def _sections(data: dict[str, Any]) -> list[str]:
    """The measured sections; one that was measured with another model says so first."""
    parts = []
    for record in data.get("sections", {}).values():
        section, model = record["section"], record["model"]
        parts.append(f"<h2>{html.escape(record['title'])}</h2>")
        if model["sha256"] != data["potential"]["sha256"]:
            parts.append(f"<p class='other'>Measured with another model: {html.escape(model['name'])}, sha256 "
                         f"<code>{model['sha256'][:16]}…</code>, not with the one of this card.</p>")
        parts += [f"<p>{html.escape(line)}</p>" for line in section["lines"]]
        if section["rows"]:
            parts.append(_table(section["columns"], section["rows"]))
        if section["figure_png"]:
            title = html.escape(record["title"])
            parts.append(f"<img alt='{title}' src='data:image/png;base64,{section['figure_png']}'>")
        parts += [f"<p>Missing: {html.escape(line)}</p>" for line in section["missing"]]
        teacher = f", teacher {record['teacher']}" if record["teacher"] else ""
        parts.append(f"<p class='made'>{html.escape(model['name'])} {model['sha256'][:16]}{html.escape(teacher)}, "
                     f"{record['measured']}, {record['seconds']:.0f} s</p>")
    return parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _rows(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    return _table(list(_COLUMNS.values()), [[_shown(row[key]) for key in _COLUMNS] for row in rows])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        estimate = Estimate.from_json(value)
        return f"{estimate.value:.3f}" if estimate.low is None else format(estimate, ".3f")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _elements(table: dict[str, dict[str, dict[str, float]]]) -> str:
    body = "".join(
        f"<tr><td>{html.escape(family)}</td><td>{element}</td><td>{row['force_rmse_eV_per_A']:.3f}</td><td>{row['force_rms_eV_per_A']:.2f}</td>"
        f"<td>{row['slope']:.3f}</td></tr>"
        for family, elements in table.items() for element, row in elements.items()
    )
    head = "<tr><th>family</th><th>element</th><th>force RMSE, eV/Å</th><th>RMS force, eV/Å</th><th>slope</th></tr>"
    return f"<table>{head}{body}</table>"


def parity_png(pairs: Sequence[Pair]) -> str:
    """Parity of forces by family, and the distribution of force errors per frame; PNG in base64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    parity, spread = figure.subplots(1, 2)
    families = sorted({pair.frame.family for pair in pairs})
    per_frame = []
    for family in families:
        own = [pair for pair in pairs if pair.frame.family == family]
        teacher = np.concatenate([labels_of(pair.frame).forces_eV_per_A.ravel() for pair in own])
        student = np.concatenate([pair.student.forces_eV_per_A.ravel() for pair in own])
        parity.plot(teacher[:20000], student[:20000], ".", ms=1, alpha=0.4, label=family, rasterized=True)
        per_frame.append([np.sqrt((pair.force_errors_eV_per_A**2).mean()) for pair in own])
    limit = float(max(np.abs(labels_of(pair.frame).forces_eV_per_A).max() for pair in pairs))
    parity.plot([-limit, limit], [-limit, limit], "k-", lw=0.5)
    parity.set(xlabel="teacher's force (eV/Å)", ylabel="student's force (eV/Å)")
    parity.legend(markerscale=8, fontsize=8)
    spread.boxplot(per_frame, tick_labels=families)
    spread.set(yscale="log", ylabel="force RMSE of a frame (eV/Å)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
th { text-align: left; } td { font-variant-numeric: tabular-nums; } img { max-width: 100%; } pre { font-size: 12px; }
.made { color: #777; font-size: 12px; } .other { color: #a00; }
"""
