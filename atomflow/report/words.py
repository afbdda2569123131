"""The answer in words: what was found, what the paper says, and what such a run can and cannot tell.

Every sentence is drawn from the data; a limit is named only where the data show it.
"""

from __future__ import annotations

import re
from typing import Any

from atomflow.report.collect import ReportData
from atomflow.report.numbers import estimate_of, interval, significant

#: Above this the monoclinic crystal has turned rhombohedral, with about half the activation energy.
TRANSITION_K = 440.0
#: Near and above this the Na sublattice is close to a liquid.
MOLTEN_K = 900.0
#: A thermostat further off than this is worth a sentence.
TEMPERATURE_TOLERANCE = 0.02


def answer(data: ReportData) -> list[str]:
    """The headline, the paper's side, and what the run can say; one string a paragraph, plain text."""
    found = [_structure_sentence(data, structure) for structure in data.structures]
    if not data.result.get("groups"):
        found = ["No run here has data that could be analysed, so there is no diffusivity and no activation energy."]
    return [" ".join(found), _paper_paragraph(data), f"This can say {_can_say(data) or 'nothing about diffusion yet'}."]


def _structure_sentence(data: ReportData, structure: str) -> str:
    groups = groups_of(data, structure)
    place = _with_and_in(data, structure, groups)
    fit = next((f for f in data.result.get("arrhenius", []) if f.get("structure") == structure), None)
    ea = estimate_of((fit or {}).get("activation_energy_eV"))
    if fit is not None and ea.value is not None:
        used = [t for t in fit.get("used") or fit.get("temperatures_K") or [] if t]
        return (
            f"Ea = {interval(ea, plain=True)} eV ({100 * ea.level:.0f} % interval) for the tracer diffusion of Na, "
            f"{_range(used)} ({_count(len(used), 'temperature')} in the fit), {place}."
        )
    if not groups:
        return f"{structure}: no run has data that could be analysed yet."
    measured = [g for g in groups if _d(g).value is not None]
    limits = [g for g in groups if _d(g).is_upper_limit]
    if not measured and limits:
        worst = max(limits, key=lambda g: _d(g).high or 0.0)
        return (
            f"No diffusion was seen {place}: at {_range([_actual_K(g) for g in limits])} the tracer "
            f"diffusivity of Na has only an upper limit ({interval(_d(worst))} cm²/s); there is no activation energy."
        )
    values = "; ".join(f"{interval(_d(g))} cm²/s at {_range([_actual_K(g)])}" for g in measured[:4])
    why = _no_line(data, fit, measured)
    return f"D(Na) = {values or 'unknown'} {place}; there is no activation energy, because {why}."


def _no_line(data: ReportData, fit: dict[str, Any] | None, measured: list[dict[str, Any]]) -> str:
    temperatures = {g.get("temperature_K") for g in measured}
    if data.kind == "run":
        return "one run has one temperature"
    if len(temperatures) < 3:
        return f"{_count(len(temperatures), 'temperature')} with measurable diffusion cannot carry a line"
    return "; ".join((fit or {}).get("warnings") or []) or "the fit gave none"


def _with_and_in(data: ReportData, structure: str, groups: list[dict[str, Any]]) -> str:
    record = next((r for r in data.runs if r.structure == structure and r.manifest), None)
    known = (groups[0] if groups else None) or (record.manifest if record else {})
    cell, potential = known.get("cell") or {}, known.get("potential")
    volume = f", {significant(cell['volume_A3'], 5)} Å³" if cell.get("volume_A3") else ""
    inside = f"{structure} ({cell['formula']}{volume})" if cell.get("formula") else structure
    return f"with the potential {(potential or {}).get('name') or 'unknown'}, in the cell {inside}"


def _paper_paragraph(data: ReportData) -> str:
    text = (
        "The paper's activation energies (0.27, 0.45 and 0.33 eV) belong to resistances of the full cell at 25–60 °C, "
        "interfaces included; its text allows two readings, and none of them is the bulk crystal alone."
    )
    rows = [
        r for r in (data.comparison or {}).get("rows", []) if str(r.get("id")).startswith("fc.Ea") and r.get("ours")
    ]
    if rows:
        return f"{text} {_held_against(rows)}"
    if data.comparison is not None:
        text += " There is no activation energy here to hold against them."
    return text


def _held_against(rows: list[dict[str, Any]]) -> str:
    """Bare numbers first, then what they are worth."""
    relations = {"overlaps": "overlaps", "above": "lies above", "below": "lies below"}
    bare: dict[str, list[str]] = {}
    for row in rows:
        relation = relations.get(str(row.get("numerical_relation")))
        value = (row.get("paper") or {}).get("value")
        if relation and value is not None:
            bare.setdefault(relation, []).append(f"{value:g}")
    shown = ", ".join(f"{name} {' and '.join(dict.fromkeys(values))}" for name, values in bare.items())
    verdicts: dict[str, int] = {}
    for row in rows:
        verdicts[str(row.get("verdict"))] = verdicts.get(str(row.get("verdict")), 0) + 1
    judged = ", ".join(f"“{verdict}” {count} times" for verdict, count in verdicts.items())
    start = f"As bare numbers our interval {shown} eV. " if shown else ""
    return f"{start}Of the {len(rows)} comparisons the verdict is {judged}; the table below gives the reasons."


def _can_say(data: ReportData) -> str:
    groups = data.result.get("groups", [])
    seen = [g for g in groups if _d(g).value is not None]
    if seen:
        where = "in this perfect periodic crystal" if _only_bulk(groups) else "in these cells"
        return (
            f"how fast Na moves {where}, as this potential describes it, at {_range([_actual_K(g) for g in seen])}, "
            "within the intervals shown"
        )
    if any(_d(g).is_upper_limit for g in groups):
        return "how slowly, at most, Na moves at these temperatures within the time simulated"
    return ""


def limits(data: ReportData) -> list[str]:
    """What the data at hand cannot support, each with its reason."""
    groups = data.result.get("groups", [])
    if not groups:
        return []
    found = _of_phase(groups) if _is_nzsp(groups) else []
    for fit in data.result.get("arrhenius", []):
        found += _of_fit(fit)
    if _only_bulk(groups):
        found.append("anything about grain boundaries, glass or electrodes: no cell here holds one")
    found.append(
        "how wrong the potential is: no interval here includes its error, and universal potentials tend to soften "
        "barriers"
    )
    if len(data.structures) == 1 and _is_nzsp(groups):
        found.append("how much the Si/P order matters: there is one arrangement only")
    return found


def _of_phase(groups: list[dict[str, Any]]) -> list[str]:
    """Where the temperatures lie among the phases of NZSP."""
    temperatures = [t for g in groups if (t := _actual_K(g))]
    found = []
    if temperatures and min(temperatures) > TRANSITION_K:
        found.append(
            "what happens at 25–60 °C, where the paper measured: every run is hotter than the monoclinic–rhombohedral "
            f"transition (about {TRANSITION_K:.0f} K), and below it the activation energy is about twice as large"
        )
    if temperatures and max(temperatures) >= MOLTEN_K:
        found.append(
            f"how a solid-like Na sublattice conducts, from the runs at {MOLTEN_K:.0f} K and above: there it is close "
            "to a liquid and its slope is small"
        )
    return found


def _is_nzsp(groups: list[dict[str, Any]]) -> bool:
    """Every cell is of Na, Zr, O and Si or P: what is known of NZSP's phases holds."""
    found = [set(re.findall(r"[A-Z][a-z]?", str((g.get("cell") or {}).get("formula") or ""))) for g in groups]
    return all(elements >= {"Na", "Zr", "O"} and elements & {"Si", "P"} for elements in found)


def _only_bulk(groups: list[dict[str, Any]]) -> bool:
    return all(set((g.get("cell") or {}).get("regions") or ["bulk"]) == {"bulk"} for g in groups)


def _of_fit(fit: dict[str, Any]) -> list[str]:
    ea = estimate_of(fit.get("activation_energy_eV"))
    found = []
    if ea.value is not None and ea.low is not None and ea.high is not None and ea.high - ea.low > 0.2:
        found.append(
            f"which of the paper's energies ours resembles ({fit.get('structure')}): the interval is "
            f"{ea.high - ea.low:.2f} eV wide; longer runs and more seeds narrow it"
        )
    kink = fit.get("kink") or {}
    if kink.get("significant") and kink.get("temperature_K"):
        found.append(
            f"one activation energy for the whole range ({fit.get('structure')}): the line bends near "
            f"{kink['temperature_K']:.0f} K (p = {kink['p_value']:.2g})"
        )
    return found


def groups_of(data: ReportData, structure: str) -> list[dict[str, Any]]:
    """The results of ``structure``, cold to hot."""
    groups = [g for g in data.result.get("groups", []) if g.get("structure") == structure]
    return sorted(groups, key=lambda g: g.get("temperature_K") or 0.0)


def all_warnings(data: ReportData) -> dict[str, list[str]]:
    """Everything a reader must know before believing a number, by where it comes from; each sentence once."""
    states: dict[str, list[str]] = {}
    for run in data.runs:
        if run.state != "done":
            reason = run.manifest.get("reason")
            states.setdefault(run.state, []).append(run.name + (f" ({reason})" if reason else ""))
    if data.waiting:
        states["not begun"] = data.waiting
    unfinished = [f"{_count(len(names), 'run')} {state}: {', '.join(names)}" for state, names in states.items()]
    excluded = [f"{item.get('run')}: {item.get('reason')}" for item in data.result.get("excluded", [])]
    sections = {
        "Not done": unfinished,
        "Could not be read or computed": data.problems,
        "Left out of the analysis": excluded,
        "About the results": list(data.result.get("warnings", [])),
    }
    for fit in data.result.get("arrhenius", []):
        sections["About the results"] += [f"{fit.get('structure')}: {text}" for text in fit.get("warnings", [])]
    for group in data.result.get("groups", []):
        place = f"{group.get('structure')} at {_kelvin(group)}"
        sections["About the results"] += [f"{place}: {text}" for text in group.get("warnings", [])]
    sections["About the runs"] = [text for run in data.runs for text in _of_run(run)]
    return {title: list(dict.fromkeys(texts)) for title, texts in sections.items() if texts}


def _of_run(run: Any) -> list[str]:
    texts = [f"{run.name}: {text}" for text in run.manifest.get("warnings", [])]
    mean = (run.manifest.get("summary") or {}).get("temperature_mean_K")
    ramp = (run.manifest.get("config") or {}).get("temperature_end_K")
    if mean and run.target_K and ramp in (None, run.target_K):
        off = mean / run.target_K - 1
        if abs(off) > TEMPERATURE_TOLERANCE:
            text = f"mean temperature {mean:.0f} K, {100 * off:+.1f} % from its target {run.target_K:.0f} K"
            texts.append(f"{run.name}: {text}")
    return texts


def _d(group: dict[str, Any]) -> Any:
    return estimate_of(group.get("tracer_diffusivity_cm2_per_s"))


def _actual_K(group: dict[str, Any]) -> float | None:
    """The temperature the atoms had where it was recorded, else the one asked for."""
    return group.get("temperature_mean_K") or group.get("temperature_K")


def _kelvin(group: dict[str, Any]) -> str:
    return f"{group['temperature_K']:.0f} K" if group.get("temperature_K") else "an unknown temperature"


def _range(temperatures: list[Any]) -> str:
    known = sorted({round(float(t)) for t in temperatures if t})
    if not known:
        return "an unknown temperature"
    return f"{known[0]} K" if len(known) == 1 else f"{known[0]}–{known[-1]} K"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
