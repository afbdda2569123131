"""Na diffusivity of the student beside CHGNet's, same cell, same engine, same seeds; the teacher cannot afford it."""

from __future__ import annotations

import math

from atomflow.cell import Cell
from atomflow.distill.card_checks.engine_runs import done, nzsp_at_rest
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import AtomflowError
from atomflow.estimate import Estimate
from atomflow.md.config import MDConfig
from atomflow.potentials import Potential

TITLE = "Na diffusivity beside CHGNet"
EQUILIBRATION_PS = 1.0
ATOMS = 80


def work(context: Context) -> Work:
    settings = context.settings
    steps = (settings.diffusion_ps + EQUILIBRATION_PS) * 500 * settings.diffusion_seeds
    cost = ATOMS * steps * len(settings.diffusion_temperatures_K)
    return Work(student=cost, chgnet=cost)


def run(context: Context) -> Section:
    from atomflow import potentials

    section = Section(
        columns=["T (K)", "tracer D (cm²/s): student", "CHGNet", "ratio with its joint interval", "inside"]
    )
    try:
        other: Potential | None = potentials.load("chgnet", device=context.potential.device.type)
    except AtomflowError as error:
        other = None
        section.missing.append(f"CHGNet's diffusivity: {error}")
    cell = nzsp_at_rest(context)
    for temperature in context.settings.diffusion_temperatures_K:
        own = diffusivity(context, "student", cell, context.potential, temperature)
        told = diffusivity(context, "chgnet", cell, other, temperature) if other else Estimate.unknown()
        ratio, inside = joint(own, told)
        section.rows.append(
            [
                f"{temperature:g}",
                format(own, ".2g"),
                format(told, ".2g") if other else "-",
                format(ratio, ".2f"),
                "cannot say" if inside is None else "yes" if inside else "NO",
            ]
        )
        section.facts[f"{temperature:g}"] = {
            "student": own.to_json(),
            "chgnet": told.to_json(),
            "ratio": ratio.to_json(),
            "inside": inside,
        }
    settings = context.settings
    section.lines.append(
        f"80 atoms, the student's own volume for both, {settings.diffusion_seeds} seed(s) of "
        f"{settings.diffusion_ps:g} ps "
        f"after {EQUILIBRATION_PS:g} ps, NVT (Bussi), 2 fs. Inside: the joint 95 % interval of the ratio holds 1. Wide "
        "intervals make that easy: read the interval."
    )
    return section


def diffusivity(context: Context, who: str, cell: Cell, potential: Potential, temperature_K: float) -> Estimate:
    """Tracer diffusivity of Na over all seeds; unknown where every run fell apart."""
    from atomflow import transport

    folders = []
    for seed in range(1, context.settings.diffusion_seeds + 1):
        config = MDConfig(
            temperature_K=temperature_K,
            time_ps=context.settings.diffusion_ps,
            equilibration_ps=EQUILIBRATION_PS,
            thermostat_time_fs=200.0,
            seed=seed,
        )
        folder, manifest = done(context, f"diffusion-{who}", cell, potential, config)
        folders += [folder] if manifest["state"] == "done" else []
    return transport.analyze(folders).tracer_diffusivity_cm2_per_s if folders else Estimate.unknown()


def joint(own: Estimate, told: Estimate) -> tuple[Estimate, bool | None]:
    """Ratio of two diffusivities with the interval of both, errors of the logarithms in quadrature; does it hold 1?"""
    if any(x.value is None or x.low is None or x.high is None or x.low <= 0 for x in (own, told)):
        return Estimate.unknown(own.level), None
    value = own.value / told.value  # type: ignore[operator]
    down = math.hypot(math.log(own.value / own.low), math.log(told.high / told.value))  # type: ignore[operator]
    up = math.hypot(math.log(own.high / own.value), math.log(told.value / told.low))  # type: ignore[operator]
    ratio = Estimate(value, value * math.exp(-down), value * math.exp(up), own.level)
    return ratio, ratio.overlaps(1.0, 1.0)
