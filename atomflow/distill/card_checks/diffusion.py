"""Na diffusivity of the student beside CHGNet's, same cell and engine; the teacher cannot afford it.

CHGNet is the slow side, so its runs are kept: they begin from a published cell, which no student changes, and go on
whenever more of them is wanted. A later student with the same work folder meets them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from atomflow.distill.card_checks.engine_runs import LongRun, nzsp_published
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import AtomflowError, InputError
from atomflow.estimate import Estimate
from atomflow.potentials import Potential

TITLE = "Na diffusivity beside CHGNet"
EQUILIBRATION_PS = 2.0
TIMESTEPS_PER_PS = 500


@dataclass(frozen=True)
class Found:
    """What runs say so far: tracer diffusivity in cm²/s, from so many ps together; ``why_not`` where they say nothing.

    Attributes:
        window_ps: lags over which the displacements were fitted. warnings: of the analysis.
    """

    diffusivity: Estimate
    time_ps: float
    window_ps: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()
    why_not: str | None = None

    def text(self) -> str:
        return format(self.diffusivity, ".2g") if self.why_not is None else "-"

    def to_json(self) -> dict[str, object]:
        return {**self.diffusivity.to_json(), "time_ps": self.time_ps, "window_ps": self.window_ps,
                "warnings": self.warnings}  # fmt: skip


def work(context: Context) -> Work:
    """What is still to be run; of CHGNet, at most as long as ``diffusion_minutes`` lets it."""
    settings = context.settings
    own = sum(_left_ps(run, settings.diffusion_ps) for run in student_runs(context))
    other = _chgnet(context)[0]
    told = sum(_left_ps(run, settings.diffusion_chgnet_ps) for run in _chgnet_runs(context, other))
    if settings.diffusion_minutes == 0:
        told = 0.0
    each = settings.diffusion_atoms * TIMESTEPS_PER_PS
    return Work(student=each * own, chgnet=each * told)


def run(context: Context) -> Section:
    """Go on with what is shorter than asked, the student first, and set side by side what there is."""
    settings = context.settings
    other, why_not = _chgnet(context)
    section = Section(
        columns=["T (K)", "tracer D (cm²/s): student", "ps", "CHGNet", "ps", "ratio with its joint interval", "inside"]
    )
    if other is None:
        section.missing.append(f"CHGNet's diffusivity: {why_not}")
    own, told = student_runs(context), _chgnet_runs(context, other)
    for each in own:
        each.go_on(settings.diffusion_ps, None, context.say)
    for each in told:
        each.go_on(settings.diffusion_chgnet_ps, settings.diffusion_minutes, context.say)
    for temperature in settings.diffusion_temperatures_K:
        _compare(section, temperature, *(_at(runs, temperature) for runs in (own, told)))
    section.unfinished = any(
        each.state != "failed" and each.time_ps < asked
        for runs, asked in ((own, settings.diffusion_ps), (told, settings.diffusion_chgnet_ps))
        for each in runs
    )
    section.lines += _lines(context)
    if section.unfinished:
        section.lines.append("Shorter than asked: the same command goes on with the runs, and changes none of them.")
    return section


def student_runs(context: Context) -> list[LongRun]:
    """Every temperature and seed of the student."""
    return _runs(context, context.potential, context.settings.diffusion_seeds)


def _chgnet_runs(context: Context, chgnet: Potential | None) -> list[LongRun]:
    return _runs(context, chgnet, context.settings.diffusion_chgnet_seeds) if chgnet else []


def _runs(context: Context, potential: Potential, seeds: int) -> list[LongRun]:
    cell, root = nzsp_published(context.settings.diffusion_atoms), context.folder / "runs"
    return [
        LongRun.of(root, "diffusion", cell, potential, temperature, seed, EQUILIBRATION_PS)
        for temperature in context.settings.diffusion_temperatures_K
        for seed in range(1, seeds + 1)
    ]


def _chgnet(context: Context) -> tuple[Potential | None, str]:
    from atomflow import potentials

    try:
        return potentials.load("chgnet", device=context.potential.device.type), ""
    except AtomflowError as error:
        return None, str(error)


def _at(runs: Sequence[LongRun], temperature_K: float) -> list[LongRun]:
    return [each for each in runs if each.config.temperature_K == temperature_K]


def _left_ps(run: LongRun, asked_ps: float) -> float:
    if run.state in ("done", "failed") or run.time_ps >= asked_ps:
        return 0.0
    return asked_ps - run.time_ps + (EQUILIBRATION_PS if run.time_ps == 0 else 0.0)


def _compare(section: Section, temperature_K: float, own_runs: list[LongRun], told_runs: list[LongRun]) -> None:
    """A row and its facts."""
    own, told = measured(own_runs), measured(told_runs)
    ratio, inside = joint(own.diffusivity, told.diffusivity)
    section.rows.append(
        [f"{temperature_K:g}", own.text(), f"{own.time_ps:.3g}", told.text(), f"{told.time_ps:.3g}",
         format(ratio, ".2f"), "cannot say" if inside is None else "yes" if inside else "NO"]
    )  # fmt: skip
    section.facts[f"{temperature_K:g}"] = {
        "student": own.to_json(), "chgnet": told.to_json(), "ratio": ratio.to_json(), "inside": inside
    }  # fmt: skip
    for who, found in (("the student", own), ("CHGNet", told)):
        if found.why_not:
            section.missing.append(f"{who} at {temperature_K:g} K: {found.why_not}")
        section.lines += [f"{who}, {temperature_K:g} K: {text}." for text in found.warnings]
    for each in (*own_runs, *told_runs):
        if each.state == "failed":
            section.missing.append(f"{each.folder.name} fell apart: {each.reason}")


def measured(runs: Sequence[LongRun]) -> Found:
    """Tracer diffusivity of Na over all these runs, as far as they came; those that fell apart are left out."""
    from atomflow import transport

    whole = [each for each in runs if each.state != "failed" and each.time_ps > 0]
    time_ps = sum(each.time_ps for each in whole)
    if not whole:
        return Found(Estimate.unknown(), 0.0, why_not="no run to go by yet")
    try:
        found = transport.analyze([each.folder for each in whole])
    except InputError as error:
        return Found(Estimate.unknown(), time_ps, why_not=f"{time_ps:.3g} ps: {error}")
    start, end = found.fit_window_ps
    stood = {str(each.folder) for each in whole if each.state != "done"}  # where each stands is what the card asks for
    warnings = tuple(text for text in found.warnings if not any(text.startswith(f"{place} is ") for place in stood))
    return Found(found.tracer_diffusivity_cm2_per_s, time_ps, (start, end), warnings)


def joint(own: Estimate, told: Estimate) -> tuple[Estimate, bool | None]:
    """Ratio of two diffusivities with the interval of both, errors of the logarithms in quadrature; does it hold 1?"""
    if any(x.value is None or x.low is None or x.high is None or x.low <= 0 for x in (own, told)):
        return Estimate.unknown(own.level), None
    value = own.value / told.value  # type: ignore[operator]
    down = math.hypot(math.log(own.value / own.low), math.log(told.high / told.value))  # type: ignore[operator]
    up = math.hypot(math.log(own.high / own.value), math.log(told.value / told.low))  # type: ignore[operator]
    ratio = Estimate(value, value * math.exp(-down), value * math.exp(up), own.level)
    return ratio, ratio.overlaps(1.0, 1.0)


def _lines(context: Context) -> list[str]:
    settings = context.settings
    return [
        f"Ordered NZSP, {settings.diffusion_atoms} atoms, at the lattice of Xie et al. 2023 (PBE, "
        f"{nzsp_published(settings.diffusion_atoms).volume_A3 / settings.diffusion_atoms:.2f} Å³ an atom) for both, "
        f"whatever either would choose; {settings.diffusion_seeds} seed(s) of the student, "
        f"{settings.diffusion_chgnet_seeds} of CHGNet, {EQUILIBRATION_PS:g} ps of equilibration each, "
        "NVT (Bussi), 2 fs.",
        "Inside: the joint 95 % interval of the ratio holds 1. Wide intervals make that easy: read the interval. A "
        "ratio below one: sodium is faster with CHGNet.",
    ]
