"""The sections that hold numbers: diffusivities, activation energies, the paper beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atomflow.plain import with_error
from atomflow.report.collect import ReportData
from atomflow.report.figures import Figure
from atomflow.report.html import Html, definitions, join, table, tag
from atomflow.report.numbers import NOTHING, estimate_of, interval, interval_cell, number_cell, scientific
from atomflow.report.words import groups_of

_Column = tuple[str, Callable[[dict[str, Any]], Any]]

_COLUMNS: tuple[_Column, ...] = (
    ("T asked, mean ± its standard error (K)", lambda g: tag("td", _kelvin(g), class_="number")),
    ("D tracer (cm²/s)", lambda g: interval_cell(g.get("tracer_diffusivity_cm2_per_s"))),
    ("D charge (cm²/s)", lambda g: interval_cell(g.get("charge_diffusivity_cm2_per_s"))),
    ("Haven ratio", lambda g: interval_cell(g.get("haven_ratio"), plain=True)),
    (
        "σ from D tracer (Nernst–Einstein, S/cm)",
        lambda g: interval_cell(g.get("nernst_einstein_conductivity_S_per_cm")),
    ),
    ("σ from D charge (S/cm)", lambda g: interval_cell(g.get("conductivity_S_per_cm"))),
    ("Na ions", lambda g: number_cell(g.get("n_ions"), "{:d}")),
    ("time (ps)", lambda g: number_cell(g.get("total_time_ps"), "{:.4g}")),
    ("runs", lambda g: number_cell(g.get("n_runs"), "{:d}")),
    ("fit window (ps)", lambda g: tag("td", _window(g), class_="number")),
)


def figure(drawing: Figure) -> Html:
    """A drawn figure with its caption and where its files lie."""
    files = ", ".join(f"figures/{path.name}" for path in drawing.files)
    caption = tag("figcaption", drawing.caption, " ", tag("span", f"Files: {files}.", class_="files"))
    return tag("figure", tag("div", drawing.svg, class_="plot"), caption)


def diffusion(data: ReportData, arrhenius: Figure | None, curves: list[Figure]) -> Html:
    """Arrhenius figure, fits, results by temperature, displacement curves."""
    parts = [tag("h2", "Diffusion", id="diffusion")]
    if not data.result.get("groups"):
        parts.append(tag("p", "There is no result to show: see the warnings above.", class_="quiet"))
        return join(parts)
    if arrhenius is not None:
        parts.append(figure(arrhenius))
    parts.append(_fits(data))
    for structure in data.structures:
        groups = groups_of(data, structure)
        if groups:
            caption = f"{structure}: value [interval]. “<” marks an upper limit: nothing was seen to diffuse."
            rows = [[_kelvin(group), *(cell(group) for _, cell in _COLUMNS[1:])] for group in groups]
            parts += [table(caption, [name for name, _ in _COLUMNS], rows), _windows(groups)]
    parts += _replicas(data.result)
    if curves:
        parts += [tag("h3", "Mean squared displacement"), tag("div", *(figure(c) for c in curves), class_="plots")]
    return join(parts)


def _replicas(result: dict[str, Any]) -> list[Html]:
    """Sets of structures that differ in nothing but seeds, each as one."""
    sets = result.get("replicas", [])
    if not sets:
        return []
    rows = [[f"{one['name']}: {', '.join(one['structures'])}", f"{one['temperature_K']:.0f}",
             interval_cell(one["tracer_diffusivity_cm2_per_s"]),
             interval_cell(one["nernst_einstein_conductivity_S_per_cm"])] for one in sets]  # fmt: skip
    caption = "Replicas (structures that differ in nothing but seeds) as one: geometric mean, Student's t."
    header = ["replicas", "T mean (K)", "D tracer (cm²/s)", "σ from D tracer (Nernst–Einstein, S/cm)"]
    return [table(caption, header, rows, id_="replicas")]


def _kelvin(group: dict[str, Any]) -> str:
    target, mean = group.get("temperature_K"), group.get("temperature_mean_K")
    known = [f"{target:.0f}"] if target else []
    known += [with_error(mean, group.get("temperature_error_K"), ".0f")] if mean else []
    return ", ".join(known) or NOTHING


def _windows(groups: list[dict[str, Any]]) -> Html:
    """The analysis in words, temperature by temperature, folded away."""
    words = []
    for group in groups:
        said = [f"{group[name]}." for name in ("verdict", "fit_window_reason") if group.get(name)]
        words.append((f"{_kelvin(group)} K", " Fit window ".join(said)))
    summary = tag("summary", "Verdict and fit window, temperature by temperature")
    return tag("details", summary, definitions(words), class_="wide")


def _window(group: dict[str, Any]) -> str:
    window = group.get("fit_window_ps")
    if not window or None in window:
        return NOTHING
    return f"{window[0]:.3g}–{window[1]:.3g}"


def _fits(data: ReportData) -> Html:
    fits = data.result.get("arrhenius", [])
    if not fits:
        why = "it takes several temperatures" if data.kind == "run" else "none was fitted"
        return tag("p", f"No Arrhenius line: {why}.", class_="quiet")
    structures = [str(fit.get("structure")) for fit in fits]
    unique = len(set(structures)) == len(structures)
    header = ["", *(s if unique else f"{s}, {f.get('potential')}" for s, f in zip(structures, fits, strict=True))]
    rows = [[name, *(cell(fit) for fit in fits)] for name, cell in _FIT_ROWS]
    caption = "Arrhenius lines, value [interval]. The extrapolation is no measurement."
    return table(caption, header, rows, id_="arrhenius-fits")


def _far(fit: dict[str, Any]) -> dict[str, Any]:
    return fit.get("extrapolation") or {}


_FIT_ROWS: tuple[_Column, ...] = (
    ("Ea from ln D (eV)", lambda f: interval_cell(f.get("activation_energy_eV"), plain=True)),
    ("Ea from ln σT, charge (eV)", lambda f: interval_cell(f.get("activation_energy_sigmaT_eV"), plain=True)),
    ("D₀ (cm²/s)", lambda f: interval_cell(f.get("prefactor_cm2_per_s"))),
    ("fitted at (K)", lambda f: _temperatures(f.get("used"))),
    ("upper limits at (K)", lambda f: _temperatures(f.get("upper_limits"))),
    ("kink", lambda f: _kink(f.get("kink"))),
    ("D extrapolated to 298 K (cm²/s)", lambda f: interval_cell(_far(f).get("tracer_diffusivity_cm2_per_s"))),
    ("how far that is", lambda f: _far(f).get("distance") or NOTHING),
)


def _temperatures(values: Any) -> str:
    known = []
    for value in values or []:
        kelvin = value.get("temperature_K") if isinstance(value, dict) else value
        known.append(f"{kelvin:.0f}" if isinstance(kelvin, (int, float)) else str(value))
    return ", ".join(known) or NOTHING


def _kink(kink: Any) -> str:
    if not isinstance(kink, dict):
        return "too few temperatures to look"
    if not kink.get("significant") or not kink.get("temperature_K"):
        return f"none found (p = {kink.get('p_value') or 1:.2g})"
    below, above = kink.get("energy_below_eV"), kink.get("energy_above_eV")
    energies = "" if None in (below, above) else f": {below:.2f} eV below, {above:.2f} eV above"
    return f"{kink['temperature_K']:.0f} K (p = {kink.get('p_value') or 0:.2g}){energies}"


def paper(data: ReportData) -> Html:
    """Our numbers beside the publication's, with the verdict in words and the reason for it."""
    parts = [tag("h2", "Beside the paper", id="paper")]
    rows = (data.comparison or {}).get("rows", [])
    if not rows:
        parts.append(tag("p", "There is no comparison: see the warnings above.", class_="quiet"))
        return join(parts)
    parts.append(
        tag(
            "p",
            "The energies 0.27, 0.45 and 0.33 eV can be read in two ways: literally, as the resistances the same "
            "sentence names, or in the order of the spectrum's features. Both readings are shown.",
        )
    )
    energies = [row for row in rows if (row.get("paper") or {}).get("unit") == "eV"]
    others = [row for row in rows if row not in energies]
    doi = "The publication (10.1039/d1ta10816f)"
    parts.append(_comparison_table(f"{doi} and these simulations: activation energies", energies, data, "comparison"))
    if others:
        caption = f"{doi} and these simulations: conductivities and diffusivities"
        parts.append(_comparison_table(caption, others, data, "comparison-transport"))
    notes = (data.comparison or {}).get("notes", [])
    if notes:
        parts.append(tag("ul", *(tag("li", note) for note in notes), class_="quiet"))
    return join(parts)


def _comparison_table(caption: str, rows: list[dict[str, Any]], data: ReportData, id_: str) -> Html:
    several = len({row.get("structure") for row in rows}) > 1
    body = []
    before = None
    for row in rows:
        conditions = row.get("ours_conditions")
        quantity = f"{row.get('quantity')} ({row.get('structure')})" if several else row.get("quantity")
        body.append(
            [
                quantity,
                row.get("reading") or NOTHING,
                _papers(row.get("paper") or {}),
                _ours(row, "conditions as above" if conditions == before else conditions),
                _verdict(row),
                tag("td", row.get("why"), class_="why"),
            ]
        )
        before = conditions
    ours = "this campaign" if data.kind == "campaign" else "this run"
    return table(caption, ["quantity", "reading", "paper", ours, "verdict", "why"], body, id_=id_)


def _papers(value: dict[str, Any]) -> Html:
    number = value.get("value")
    if isinstance(number, (int, float)):
        shown = scientific(number)
    elif value.get("low") is not None and value.get("high") is not None:
        shown = f"{scientific(value['low'])} to {scientific(value['high'])}"
    else:
        shown = str(number or NOTHING)
    context = "; ".join(str(value[key]) for key in ("conditions", "where") if value.get(key))
    amount = tag("span", f"{shown} {_unit(value)}", class_="amount")
    return tag("td", amount, tag("div", context, class_="quiet"), class_="paper")


def _ours(row: dict[str, Any], conditions: Any) -> Html:
    estimate = estimate_of(row.get("ours"))
    if estimate.high is None:
        return tag("td", NOTHING, tag("div", conditions, class_="quiet"), class_="ours")
    attributes = {"data_value": estimate.value, "data_low": estimate.low, "data_high": estimate.high}
    unit = _unit(row.get("paper") or {})
    amount = tag("span", f"{interval(estimate, plain=unit == 'eV')} {unit}", class_="amount")
    return tag("td", amount, tag("div", conditions, class_="quiet"), class_="ours", **attributes)


def _unit(value: dict[str, Any]) -> str:
    return str(value.get("unit") or "").replace("cm2/s", "cm²/s")


def _verdict(row: dict[str, Any]) -> Html:
    relation = row.get("numerical_relation")
    note = f"as numbers: {relation}" if relation and relation != row.get("verdict") else None
    return tag(
        "td", tag("span", row.get("verdict"), class_="verdict"), tag("div", note, class_="quiet") if note else None
    )
