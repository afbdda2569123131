"""The sections of record: runs and their health, the cells, the potentials, settings and versions."""

from __future__ import annotations

import json
from string import Template
from typing import Any

from atomflow.report.collect import ReportData, RunRecord
from atomflow.report.figures import Figure
from atomflow.report.html import Html, asset, definitions, join, table, tag
from atomflow.report.numbers import NOTHING, number_cell, significant
from atomflow.report.results import figure


def runs(data: ReportData, traces: list[Figure]) -> Html:
    """Health of every run: state, temperature against target, drift of the conserved energy, speed."""
    parts = [tag("h2", "Runs", id="runs")]
    if not data.runs:
        return join([*parts, tag("p", "No run folder yet.", class_="quiet")])
    parts.append(tag("div", *(figure(trace) for trace in traces), class_="plots"))
    header = [
        "run",
        "structure",
        "state",
        "target T (K)",
        "mean T (K)",
        "its standard error (K)",
        "σ(T) (K)",
        "energy drift (meV/atom/ps)",
        "time (ps)",
        "steps",
        "frames",
        "steps/s",
        "seed",
    ]
    caption = "Every run. The drift is that of the conserved energy, thermostat included; it should be near zero."
    parts.append(table(caption, header, [_run_row(run) for run in data.runs], id_="run-table"))
    return join(parts)


def _run_row(run: RunRecord) -> list[Any]:
    summary, progress = run.manifest.get("summary") or {}, run.manifest.get("progress") or {}
    config = run.manifest.get("config") or {}
    done, total = progress.get("step"), progress.get("steps_total")
    return [
        tag("code", run.name[:40]),
        run.structure if run.manifest else NOTHING,
        tag("td", run.state, class_=f"state-{run.state}"),
        number_cell(run.target_K, "{:.0f}"),
        number_cell(summary.get("temperature_mean_K"), "{:.1f}"),
        number_cell(summary.get("temperature_error_K"), "{:.1f}"),
        number_cell(summary.get("temperature_std_K"), "{:.1f}"),
        number_cell(summary.get("energy_drift_meV_per_atom_per_ps"), "{:+.3g}"),
        number_cell(progress.get("time_ps"), "{:.4g}"),
        tag("td", NOTHING if done is None else f"{done:,} of {total:,}" if total else f"{done:,}", class_="number"),
        number_cell(progress.get("frames"), "{:,}"),
        number_cell(progress.get("steps_per_s"), "{:.3g}"),
        number_cell(config.get("seed"), "{}"),
    ]


def cells(data: ReportData, views: list[dict[str, Any]]) -> Html:
    """The 3D view and, for every structure, what the cell is and how it was built."""
    parts = [tag("h2", "Cell", id="cell")]
    if views:
        parts.append(_viewer(views))
    seen = set()
    planned = data.campaign.get("structures")
    known = list(planned.items()) if isinstance(planned, dict) else []
    known += [(run.structure, run.manifest.get("cell")) for run in data.runs]
    for structure, cell in known:
        if isinstance(cell, dict) and (structure, cell.get("sha256")) not in seen:
            seen.add((structure, cell.get("sha256")))
            parts += [tag("h3", structure), _cell_facts(cell)]
    if not seen:
        parts.append(tag("p", "No cell is known yet.", class_="quiet"))
    return join(parts)


def _viewer(views: list[dict[str, Any]]) -> Html:
    """Canvas and controls; ``assets/cell_view.js`` gives them life. A choice where there is more than one cell."""
    options = (tag("option", view["name"], value=index) for index, view in enumerate(views))
    choice = tag("select", *options, data_part="choice", aria_label="structure shown") if len(views) > 1 else ""
    return Html(Template(asset("cell_view.html")).substitute(choice=choice))


def _cell_facts(cell: dict[str, Any]) -> Html:
    lengths, angles = cell.get("lengths_A") or [], cell.get("angles_deg") or []
    provenance = cell.get("provenance") or {}
    pairs = [
        ("formula", cell.get("formula")),
        ("atoms", cell.get("n_atoms")),
        ("density", _with_unit(cell.get("density_g_per_cm3"), "g/cm³", 4)),
        ("volume", _with_unit(cell.get("volume_A3"), "Å³", 6)),
        ("a, b, c", ", ".join(f"{x:.4f}" for x in lengths) + " Å" if lengths else None),
        ("α, β, γ", ", ".join(f"{x:.3f}" for x in angles) + "°" if angles else None),
        ("regions", ", ".join(f"{name} {count}" for name, count in (cell.get("regions") or {}).items())),
        ("checksum", tag("code", cell["sha256"]) if cell.get("sha256") else None),
    ]
    built = [(key, _plain(value)) for key, value in provenance.items()]
    return join(
        [definitions(pairs), tag("p", "How it was built:", class_="quiet") if built else None, definitions(built)]
    )


def potentials(data: ReportData) -> Html:
    """Identity of every potential used."""
    parts = [tag("h2", "Potential", id="potential")]
    known = [data.campaign.get("potential"), *(run.manifest.get("potential") for run in data.runs)]
    known += [group.get("potential") for group in data.result.get("groups", [])]
    distinct = {(p.get("sha256"), p.get("name"), p.get("dtype")): p for p in reversed(known) if isinstance(p, dict)}
    if not distinct:
        parts.append(tag("p", "The runs name no potential.", class_="quiet"))
    for potential in reversed(distinct.values()):
        pairs = [
            ("name", potential.get("name")),
            ("kind", potential.get("kind")),
            ("sha256", tag("code", potential["sha256"]) if potential.get("sha256") else None),
            ("elements", _elements(potential.get("elements"))),
            ("cutoff", _with_unit(potential.get("cutoff_A"), "Å", 3)),
            ("precision", potential.get("dtype")),
            ("trained for", potential.get("trained_for")),
            ("reference", potential.get("reference")),
            ("source", potential.get("source")),
        ]
        parts.append(definitions(pairs))
    return join(parts)


def _elements(elements: Any) -> str | None:
    if not elements:
        return None
    names = [str(element) for element in elements]
    needed = [name for name in ("Na", "Zr", "Si", "P", "O", "B", "Zn") if name in names]
    if len(names) <= 20:
        return ", ".join(names)
    return f"{len(names)} elements, among them {', '.join(needed)}"


def settings(data: ReportData) -> Html:
    """Molecular dynamics settings, shared or differing; the campaign as it was asked for; versions and machines."""
    parts = [tag("h2", "Settings and versions", id="settings")]
    configs = [run.manifest["config"] for run in data.runs if run.manifest.get("config")]
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = [[tag("code", key), _distinct([config.get(key) for config in configs])] for key in keys]
    if rows:
        parts.append(
            table("Molecular dynamics; values that differ between runs are listed", ["setting", "value"], rows)
        )
    versions = _merged(data, "versions")
    if versions:
        parts.append(definitions([(tag("code", name), value) for name, value in versions]))
    machines = [(name, value) for name, value in _merged(data, "hardware") if name != "host"]
    if machines:
        parts += [tag("h3", "Machine"), definitions(machines)]
    if data.campaign:
        text = json.dumps(data.campaign, indent=2, ensure_ascii=False)
        parts.append(tag("details", tag("summary", "campaign.json"), tag("pre", text[:60_000], tabindex="0")))
    return join(parts)


def _merged(data: ReportData, key: str) -> list[tuple[str, str]]:
    """Entries of one block of all manifests; a value that differs between runs shows every version of it."""
    found: dict[str, list[Any]] = {}
    for run in data.runs:
        for name, value in (run.manifest.get(key) or {}).items():
            found.setdefault(name, []).append(value)
    return [(name, _distinct(values)) for name, values in found.items() if any(v is not None for v in values)]


def _distinct(values: list[Any]) -> str:
    shown = list(dict.fromkeys(_plain(value) for value in values))
    return ", ".join(shown[:12]) + (f", … ({len(shown)} values)" if len(shown) > 12 else "")


def _plain(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _with_unit(value: Any, unit: str, digits: int) -> str | None:
    return f"{significant(float(value), digits)} {unit}" if isinstance(value, (int, float)) else None
