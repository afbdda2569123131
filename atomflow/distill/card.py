"""The card of a student: what it was trained on and how far it is from its teacher on systems it never saw."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill import errors_table
from atomflow.distill.errors_table import Pair
from atomflow.distill.frames import Frame, read_frames
from atomflow.distill.train import labels_of
from atomflow.errors import InputError
from atomflow.estimate import Estimate

_COLUMNS = {
    "group": "group", "frames": "frames", "systems": "systems", "force_rmse_eV_per_A": "force RMSE, eV/Å [95 %]",
    "force_mae_eV_per_A": "force MAE, eV/Å", "force_rms_eV_per_A": "RMS force, eV/Å", "slope": "slope",
    "energy_rmse_meV_per_atom": "energy RMSE, meV/atom", "energy_spread_meV_per_atom": "energy spread, meV/atom",
    "stress_rmse_GPa": "stress RMSE, GPa",
}


def card_data(
    frames: Sequence[Frame], potential: Any, about: dict[str, Any], progress: Callable[[int], None] = lambda n: None
) -> tuple[dict[str, Any], list[Pair]]:
    """Everything the card shows, JSON-able, and the evaluated pairs for its figures.

    Args:
        frames: labelled frames; those of the test split are used, :class:`InputError` if there are none.
        potential: the student, as ``potentials.load`` gives it.
        about: training facts to show (configuration, seeds, teacher, checks done).
    """
    held_out = [frame for frame in frames if frame.split == "test"]
    if not held_out:
        raise InputError("the labelled set holds no test frames; a card without held-out systems would say nothing")
    pairs = errors_table.evaluate(held_out, potential.calculator(), progress)
    data = {
        "format": "atomflow-card", "potential": potential.identity.model_dump(), "about": about,
        "by_family": [row.to_json() for row in errors_table.by_family(pairs)],
        "by_temperature": [row.to_json() for row in errors_table.by_temperature(pairs)],
        "by_element": errors_table.by_element(pairs),
        "worst_systems": [row.to_json() for row in errors_table.by_system(pairs)],
    }
    return data, pairs


def labelled_frames(model_folder: str | Path) -> tuple[list[Frame], dict[str, Any]]:
    """The labelled frames a model folder was trained from, and its training facts."""
    folder = Path(model_folder)
    try:
        config = json.loads((folder / "student.json").read_text())
        facts = json.loads((folder / "set.json").read_text()) if (folder / "set.json").exists() else {}
    except (OSError, json.JSONDecodeError):
        raise InputError(f"{folder} is not a folder that atomflow potential train wrote (no student.json)") from None
    frames = [frame for path in config["labelled"] for frame in read_frames(path)]
    checks = folder / "checks.json"
    about = {"student": config, "set": facts}
    if checks.exists():
        about["checks"] = json.loads(checks.read_text())
    return frames, about


def write_card(data: dict[str, Any], pairs: Sequence[Pair], path: str | Path) -> Path:
    """One self-contained HTML file, with the same facts as JSON beside it (``.json``)."""
    path = Path(path)
    try:
        path.with_suffix(".json").write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
        path.write_text(_page(data, pairs), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _page(data: dict[str, Any], pairs: Sequence[Pair]) -> str:
    identity = data["potential"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(identity['name'])}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(identity['name'])}</h1>",
        f"<p>{html.escape(identity['trained_for'])}. Cutoff {identity['cutoff_A']:g} Å; elements "
        f"{', '.join(identity['elements'])}; sha256 <code>{identity['sha256'][:16]}…</code></p>",
        "<p>All errors are against the teacher, on systems that were not trained on. They are no errors against "
        "experiment or DFT: the teacher has its own.</p>",
        f"<img alt='Force parity and errors' src='data:image/png;base64,{_figure(pairs)}'>",
        "<h2>By kind of system</h2>", _rows(data["by_family"]),
        "<h2>By temperature of the dynamics</h2>", _rows(data["by_temperature"]),
        "<h2>By element</h2>", _elements(data["by_element"]),
        "<h2>The worst systems</h2>", _rows(data["worst_systems"]),
        "<h2>Training and checks</h2>",
        f"<pre>{html.escape(json.dumps(data['about'], indent=2))}</pre></html>",
    ]
    return "\n".join(parts)


def _rows(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{html.escape(title)}</th>" for title in _COLUMNS.values())
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_shown(row[key]))}</td>" for key in _COLUMNS) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


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


def _figure(pairs: Sequence[Pair]) -> str:
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
"""
