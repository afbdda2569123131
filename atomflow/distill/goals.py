"""What is asked of a shipped student, beside what its card measured: the table at the top of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from atomflow.distill.errors_table import HOT_ABOVE_K, heat
from atomflow.interfaces.dft import THEIRS

#: Families that count as glass, boundary, sealed boundary and contact, by how their names begin.
HARD_FAMILIES = ("zbo", "glass", "boundary", "sealed", "surface", "contact")
Facts = dict[str, Any]


def goals(data: dict[str, Any]) -> list[list[str]]:
    """Rows (goal, asked, measured, verdict) from a card's data; verdict: met, NOT met, less than asked, or open."""
    rows = []
    for goal, asked, section, judge in _GOALS:
        if section is None:
            found = data if "by_family" in data else None
        else:
            record = data.get("sections", {}).get(section)
            if record and record["model"]["sha256"] != data["potential"]["sha256"]:
                rows.append([goal, asked, "with another model only", "open"])
                continue
            found = record["section"]["facts"] if record else None
        measured, verdict = judge(found) if found else ("not measured", "open")
        rows.append([goal, asked, measured, verdict])
    return rows


def _verdict(met: bool) -> str:
    return "met" if met else "NOT met"


def _nzsp(data: Facts) -> tuple[str, str]:
    row = data.get("nzsp_dynamics_300_to_1500K")
    if not row:
        return "no such frames", "open"
    rmse, slope = row["force_rmse_eV_per_A"]["value"], row["slope"]
    met = rmse <= 0.06 and 0.97 <= slope <= 1.03
    return f"{rmse:.3f} eV/Å, slope {slope:.3f} ({row['frames']} frames)", _verdict(met)


def _hard(hot: bool) -> Callable[[Facts], tuple[str, str]]:
    """Judges the worst of the groups above :data:`HOT_ABOVE_K`, or of all others."""

    def judge(data: Facts) -> tuple[str, str]:
        rows = [row for row in data["by_family"] if row["group"].startswith(HARD_FAMILIES)]
        values = {row["group"]: row["force_rmse_eV_per_A"]["value"] for row in rows
                  if row["group"].endswith(heat(HOT_ABOVE_K + 1)) == hot}
        if not values:
            return "no such frames", "open"
        worst = max(values, key=lambda name: values[name])
        return f"{len(values)} groups, worst {values[worst]:.3f} eV/Å ({worst})", _verdict(values[worst] <= 0.15)

    return judge


def _barriers(facts: Facts) -> tuple[str, str]:
    errors = [abs(error) for hop in facts.values() for error in hop.get("errors_eV", [])]
    if not errors:
        return "no barrier could be compared", "open"
    return f"{len(errors)} barriers, largest difference {max(errors):.3f} eV", _verdict(max(errors) <= 0.03)


def _boundaries(facts: Facts) -> tuple[str, str]:
    """Judged in the published cells, which is what was asked; the lowest that a search found stand beside it."""
    told = [(words, _beside_dft([row for row in facts.get("rows", []) if row["what"] in kinds]))
            for words, kinds in (("in DFT's own cells", THEIRS), ("lowest found", ("boundary",)))]  # fmt: skip
    found = [(words, *verdict) for words, verdict in told if verdict is not None]
    if not found:
        return "not measured", "open"
    return "; ".join(f"{words}: {measured}" for words, measured, _ in found), found[0][2]


def _beside_dft(rows: list[Facts]) -> tuple[str, str] | None:
    if not rows:
        return None
    ours, theirs = (np.array([row[key] for row in rows], float) for key in ("ours_J_per_m2", "theirs_J_per_m2"))
    error, same = float(np.abs(ours - theirs).mean()), bool((np.argsort(ours) == np.argsort(theirs)).all())
    return (f"{error:.3f} J/m² over {len(rows)}, order {'right' if same else 'NOT right'}",
            _verdict(same and error <= 0.08))  # fmt: skip


def _phonons(facts: Facts) -> tuple[str, str]:
    number = len(facts["imaginary"])
    if number == 0:
        return "none", "met"
    told = facts.get("gamma_teacher_THz")
    if told is None:
        return f"{number} imaginary modes, the teacher not asked", "open"
    return f"{number} imaginary modes; the teacher's lowest at Γ {min(told):.2f} THz", _verdict(min(told) < -0.1)


def _stability(name: str, seeds: int, time_ps: float) -> Callable[[Facts], tuple[str, str]]:
    def judge(facts: Facts) -> tuple[str, str]:
        ends = facts.get(name, [])
        if not any(end["time_ps"] > 0 or end["blown_up"] for end in ends):
            return "not measured", "open"
        whole, shortest = sum(not end["blown_up"] for end in ends), min(end["time_ps"] for end in ends)
        measured = f"{whole} of {len(ends)} seeds whole, shortest {shortest:.3g} ps"
        if whole < len(ends):
            return measured, "NOT met"
        return measured, "met" if len(ends) >= seeds and shortest >= 0.999 * time_ps else "less than asked"

    return judge


def _diffusion(facts: Facts) -> tuple[str, str]:
    inside = {temperature: row["inside"] for temperature, row in facts.items()}
    words = {True: "inside", False: "outside", None: "cannot say"}
    measured = ", ".join(f"{temperature} K: {words[value]}" for temperature, value in inside.items())
    if None in inside.values():
        return measured, "open"
    return measured, _verdict(all(inside.values()))


_GOALS: tuple[tuple[str, str, str | None, Callable[[Facts], tuple[str, str]]], ...] = (
    ("force RMSE, held-out NZSP dynamics, 300-1500 K", "at most 0.06 eV/Å, slope 0.97-1.03", None, _nzsp),
    ("force RMSE, held-out glass, boundary, sealed, contact systems, to 1000 K", "at most 0.15 eV/Å", None,
     _hard(hot=False)),
    ("the same above 1000 K: melts, hot films, boundaries", "at most 0.15 eV/Å", None, _hard(hot=True)),
    ("Na hop barriers against the teacher's", "within 0.03 eV", "hops", _barriers),
    ("published DFT boundary and surface energies", "order right, mean error at most 0.08 J/m²", "boundary",
     _boundaries),
    ("phonons of C2/c NZSP", "no false imaginary mode", "phonons", _phonons),
    ("NZSP at 1500 K", "20 seeds of 1 ns whole", "stability", _stability("stability-nzsp", 20, 1000.0)),
    ("ZBO at 2500 K", "20 seeds of 200 ps whole", "stability", _stability("stability-zbo", 20, 200.0)),
    ("Na diffusivity beside CHGNet's", "inside the joint interval", "diffusion", _diffusion),
)
