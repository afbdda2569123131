"""Does it stay in one piece: seeds at the highest temperatures of its use, run by the engine under its guards."""

from __future__ import annotations

import math

from atomflow.distill.card_checks.engine_runs import nzsp_at_rest, zbo_at_rest
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.card_checks.stability_runs import (
    CLOSEST_A,
    DRIFT_FROM_PS,
    DRIFT_MEV_PER_ATOM_PER_PS,
    HOTTEST,
    Stood,
    Trial,
    go_on,
    standing,
    wall_seconds,
)

TITLE = "Stability at high temperature"
ZBO_UNITS = 4


def work(context: Context) -> Work:
    settings = context.settings
    zbo = 19 * ZBO_UNITS * settings.stability_zbo_ps * 1000 if context.knows({"B", "Zn", "O"}) else 0
    minutes = settings.stability_minutes
    return Work(
        student=settings.stability_seeds * (80 * settings.stability_nzsp_ps * 500 + zbo),
        at_most_s=math.inf if minutes is None else 60 * minutes * (2 if zbo else 1),
    )


def run(context: Context) -> Section:
    """Go on with all seeds, for no longer than ``stability_minutes`` a system, and say how far they came."""
    for trial in trials(context):
        go_on(trial, context.potential, context.folder / "runs", context.settings.stability_minutes, context.say)
    return section(context)


def trials(context: Context) -> list[Trial]:
    """NZSP, and ZBO where the model knows it."""
    settings = context.settings
    found = [
        Trial("stability-nzsp", "NZSP, ordered, 80 atoms", lambda seed: nzsp_at_rest(context),
              settings.stability_nzsp_K, settings.stability_nzsp_ps, 2.0, settings.stability_seeds)
    ]  # fmt: skip
    if context.knows({"B", "Zn", "O"}):
        found.append(
            Trial("stability-zbo", f"ZBO packing, {19 * ZBO_UNITS} atoms",
                  lambda seed: zbo_at_rest(context, ZBO_UNITS, seed), settings.stability_zbo_K,
                  settings.stability_zbo_ps, 1.0, settings.stability_seeds)
        )  # fmt: skip
    return found


def section(context: Context) -> Section:
    """How far the seeds came until now, from what is on disk; nothing is run."""
    found = Section(
        columns=["system", "T (K)", "seeds x ps asked", "seeds x ps without blow-up", "together (ps)", "blown up",
                 "hottest (K)", "closest (Å)", "drift (meV/atom/ps)", "wall (min)"]
    )  # fmt: skip
    asked = trials(context)
    for trial in asked:
        ends = standing(trial, context.potential, context.folder / "runs")
        found.rows.append(_row(trial, ends, wall_seconds(trial, context.potential, context.folder / "runs")))
        found.facts[trial.name] = [end.to_json() for end in ends]
        found.unfinished |= any(end.state not in ("done", "failed") for end in ends)
    if len(asked) < 2:
        found.missing.append("ZBO: the model does not know boron or zinc")
    found.lines.append(
        f"NVT, all seeds of a system in one batch. Blown up: above {HOTTEST:g} T + 1000 K, a force beyond 500 eV/Å, "
        f"atoms closer than {CLOSEST_A} Å, or a conserved energy that drifts by more than "
        f"{DRIFT_MEV_PER_ATOM_PER_PS:g} meV/atom/ps (from {DRIFT_FROM_PS:g} ps on). ZBO begins as a packing "
        "that was relaxed a little."
    )
    if found.unfinished:
        found.lines.append("Not at the end yet: the times are those on disk; the same command goes on.")
    return found


def _row(trial: Trial, ends: list[Stood], wall_s: float) -> list[str]:
    whole = [end for end in ends if not end.blown_up]
    begun = [end for end in ends if end.state != "waiting"]
    blown = "; ".join(f"seed {end.seed} at {end.time_ps:.2f} ps: {end.reason}" for end in ends if end.blown_up)
    hottest = [end.hottest_K for end in begun if end.hottest_K is not None]
    closest = [end.closest_A for end in begun if end.closest_A is not None]
    drifts = [end.drift_meV_per_atom_per_ps for end in begun if end.drift_meV_per_atom_per_ps is not None]
    return [
        trial.title, f"{trial.temperature_K:g}", f"{trial.seeds} x {trial.time_ps:g}",
        f"{len(whole)} x {min((end.time_ps for end in whole), default=0.0):.2f}",
        f"{sum(end.time_ps for end in ends):.1f}", blown or "none",
        f"{max(hottest):.0f}" if hottest else "-", f"{min(closest):.2f}" if closest else "-",
        f"{min(drifts):+.3f} to {max(drifts):+.3f}" if drifts else "-", f"{wall_s / 60:.1f}",
    ]  # fmt: skip
