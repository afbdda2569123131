"""Does it stay in one piece: seeds at the highest temperatures of its use, run by the engine under its guards."""

from __future__ import annotations

from atomflow.build.glass import build_glass
from atomflow.cell import Cell
from atomflow.distill.card_checks.engine_runs import done, nzsp_at_rest
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.md.config import MDConfig

TITLE = "Stability at high temperature"
#: Atoms nearer than this (Å) have fallen into one another; the shortest bond here is B–O, 1.2 Å at its closest.
CLOSEST_A = 0.8
ZBO_UNITS = 4


def work(context: Context) -> Work:
    settings = context.settings
    zbo = 19 * ZBO_UNITS * settings.stability_zbo_ps * 1000 if context.knows({"B", "Zn", "O"}) else 0
    return Work(student=settings.stability_seeds * (80 * settings.stability_nzsp_ps * 500 + zbo))


def run(context: Context) -> Section:
    settings = context.settings
    section = Section(columns=["system", "T (K)", "time asked (ps)", "seeds", "whole to the end", "ended early"])
    _row(
        context,
        section,
        "NZSP, ordered, 80 atoms",
        "stability-nzsp",
        lambda seed: nzsp_at_rest(context),
        settings.stability_nzsp_K,
        settings.stability_nzsp_ps,
        2.0,
    )
    if context.knows({"B", "Zn", "O"}):
        _row(
            context,
            section,
            f"ZBO packing, {19 * ZBO_UNITS} atoms",
            "stability-zbo",
            lambda seed: build_glass(units=ZBO_UNITS, seed=seed),
            settings.stability_zbo_K,
            settings.stability_zbo_ps,
            1.0,
        )
    else:
        section.missing.append("ZBO: the model does not know boron or zinc")
    section.lines.append(
        "NVT; a run ends early when it is too hot, a force is beyond 500 eV/Å, or two atoms come closer than "
        f"{CLOSEST_A} Å. A packing starts far from any liquid."
    )
    return section


def _row(
    context: Context,
    section: Section,
    title: str,
    name: str,
    cell: object,
    temperature_K: float,
    time_ps: float,
    timestep_fs: float,
) -> None:
    ends = []
    for seed in range(1, context.settings.stability_seeds + 1):
        start: Cell = cell(seed)  # type: ignore[operator]
        config = MDConfig(
            temperature_K=temperature_K,
            time_ps=time_ps,
            equilibration_ps=0.2,
            timestep_fs=timestep_fs,
            seed=seed,
            thermostat_time_fs=200.0,
            frame_interval_fs=100.0,
            min_distance_A=CLOSEST_A,
        )
        _, manifest = done(context, name, start, context.potential, config)
        ends.append(
            {
                "seed": seed,
                "state": manifest["state"],
                "time_ps": manifest["progress"]["time_ps"],
                "reason": manifest.get("reason"),
            }
        )
    whole = [end for end in ends if end["state"] == "done"]
    early = "; ".join(
        f"seed {end['seed']} at {end['time_ps']:.2f} ps: {end['reason']}" for end in ends if end not in whole
    )
    section.rows.append([title, f"{temperature_K:g}", f"{time_ps:g}", str(len(ends)), str(len(whole)), early or "none"])
    section.facts[name] = ends
