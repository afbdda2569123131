"""From one trajectory, or several seeds of the same run, to diffusivities and conductivity with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from atomflow.errors import InputError, check_positive, said
from atomflow.estimate import Estimate
from atomflow.transport import window as windows
from atomflow.transport.conductivity import haven_ratio, siemens_per_cm
from atomflow.transport.diffusion import (
    HOP_LENGTH_A,
    Diffusivity,
    charge,
    equivalent_hops,
    looks_diffusive,
    poisson_limit_cm2_per_s,
    tensor_cm2_per_s,
    tracer,
)
from atomflow.transport.displacement import Displacements
from atomflow.transport.measure import Measured, measure
from atomflow.transport.pooling import about_pool, check_same, held_still, open_all, temperature_of, vacuum
from atomflow.transport.result import TransportResult
from atomflow.transport.seeds import Agreement, agreement
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

_MSD_POINTS = 80
_BALLISTIC_SLOPE = 1.4
#: Å rms: atoms of a solid framework vibrate by less than half of it, oxygen of turning tetrahedra included.
_FLOWS_A = 2.0


@dataclass(frozen=True)
class _Numbers:
    """The estimates of one group, before they are dressed with where they came from."""

    tracer: Estimate
    charge: Estimate
    haven: Estimate
    directions: dict[str, Estimate]
    tensor: np.ndarray | None
    ln_tracer: tuple[float, float] | None
    ln_charge: tuple[float, float] | None
    warnings: list[str]
    seeds: Agreement | None = None


def analyze(
    trajectories: Any,
    species: str = "Na",
    discard_ps: float = 0.0,
    framework: str | Sequence[str] = "auto",
    memory_MB: float = 500.0,
    level: float = 0.95,
    hop_length_A: float = HOP_LENGTH_A,
    charge_e: float = 1.0,
    workers: int = 1,
    frame_interval_fs: float | None = None,
    temperature_K: float | None = None,
) -> TransportResult:
    """Diffusivities, Haven ratio and conductivity of ``species``, each with an interval of probability ``level``.

    Args:
        trajectories: a trajectory, a path to one (run folder or any file ASE reads), or a list: seeds to be pooled.
        species: the mobile element.
        discard_ps: time left out at the start of every run.
        framework: what displacements are measured against: ``auto`` (all other species), element names,
            ``cell`` (centre of mass of everything) or ``none``.
        memory_MB: bound on the working memory; longer trajectories are read in pieces.
        hop_length_A: one hop; sets the fit window and the upper limits.
        charge_e: charge of the ion for σ.
        frame_interval_fs, temperature_K: of paths to files that do not say it (:func:`atomflow.runs.open_trajectory`
            knows more of them: format, wrapping, elements of atom types).

    Raises:
        InputError: no such species, too few frames, runs that cannot be pooled.
    """
    if not isinstance(species, str):
        raise InputError(f"species is the symbol of one element, like 'Na', not {said(species)}")
    if not isinstance(discard_ps, Real) or not np.isfinite(float(discard_ps)):
        raise InputError(f"discard_ps is a number of ps, not {said(discard_ps)}")
    check_positive("level", level)
    if not 0.5 <= level < 1:
        raise InputError(f"level must be between 0.5 and 1, not {level:g}")
    check_positive("the hop length", hop_length_A)
    if not isinstance(charge_e, Real) or charge_e == 0 or not np.isfinite(float(charge_e)):
        raise InputError(f"the charge of the ion, for the conductivity, is a number other than 0, not {said(charge_e)}")
    check_positive("memory_MB", memory_MB)
    if memory_MB < 1:
        raise InputError(f"memory_MB must be at least 1, not {memory_MB:g}")
    opened = open_all(trajectories, frame_interval_fs, temperature_K)
    share = memory_MB / len(opened)
    pool = [Displacements(item, species, discard_ps, framework, max(1.0, share)) for item in opened]
    check_same(opened, pool)
    measured = measure(pool, workers)
    window = windows.choose(measured, hop_length_A)
    diffusing, verdict = looks_diffusive(window.fit, measured, hop_length_A)
    hops = equivalent_hops(window.fit.likely_cm2_per_s, measured.ion_time_ps, hop_length_A)
    scatter = window.fit.overdispersion if diffusing else window.together
    if diffusing:
        numbers = _diffusing(window, level)
    else:
        numbers = _limited(window, measured, hops, hop_length_A, level)
    if not pool[0].has_framework:
        numbers = _without_charge(numbers, level, pool[0].reference)
    temperature = temperature_of(opened, discard_ps)
    warnings = list(temperature.warnings)
    volume = float(np.mean([run.volume_A3 for run in pool]))
    conductivity, nernst_einstein = Estimate.unknown(level), Estimate.unknown(level)
    if temperature.actual_K:
        factor = siemens_per_cm(pool[0].n_ions, volume, temperature.actual_K, charge_e)
        conductivity, nernst_einstein = numbers.charge.scaled(factor), numbers.tracer.scaled(factor)
    else:
        warnings.append("the temperature is not known: no conductivity (give --temperature)")
    warnings += numbers.warnings + about_pool(opened) + held_still(opened, species) + vacuum(opened[0])
    warnings += _cautions(pool, measured, diffusing, window, hop_length_A)
    return TransportResult(
        species=species,
        sources=tuple(str(item.source) for item in opened),
        temperature_K=temperature.target_K,
        temperature_mean_K=temperature.mean_K,
        temperature_error_K=temperature.error_K,
        n_ions=pool[0].n_ions,
        n_frames=sum(run.n_frames for run in pool),
        n_runs=len(pool),
        total_time_ps=sum(run.total_time_ps for run in pool),
        frame_interval_ps=measured.interval_ps,
        discard_ps=discard_ps,
        volume_A3=volume,
        cell=dict(opened[0].cell_summary or {}),
        potential=opened[0].potential,
        tracer_diffusivity_cm2_per_s=numbers.tracer,
        charge_diffusivity_cm2_per_s=numbers.charge,
        haven_ratio=numbers.haven,
        conductivity_S_per_cm=conductivity,
        nernst_einstein_conductivity_S_per_cm=nernst_einstein,
        directions=numbers.directions,
        tensor_cm2_per_s=numbers.tensor,
        diffusing=diffusing,
        verdict=verdict,
        fit_window_ps=(window.start_ps, window.end_ps),
        fit_window_reason=window.reason,
        overdispersion=scatter,
        msd=_msd_table(measured, scatter, level),
        drift_A=max(run.max_drift_A for run in pool),
        reference=pool[0].reference,
        hops=hops,
        hop_length_A=hop_length_A,
        hop_exposure_s_per_cm2=equivalent_hops(1.0, measured.ion_time_ps, hop_length_A),
        ln_tracer=numbers.ln_tracer,
        ln_charge=numbers.ln_charge,
        seeds=numbers.seeds,
        warnings=tuple(dict.fromkeys([text for item in opened for text in item.warnings] + warnings)),
    )


def _diffusing(window: windows.Window, level: float) -> _Numbers:
    fit, steps = window.fit, window.steps
    collective = charge(steps, fit, window.together)
    together, seeds, warnings = window.together, None, []
    if len(steps.ions) > 1:
        seeds = agreement(steps, together)
        error = fit.log_moments()[1]
        if seeds.ln_error > error:  # what they disagree by adds to the error of either ln D
            further = (seeds.ln_error**2 - error**2) / collective.log_moments()[1] ** 2
            collective = charge(steps, fit, together, 1.0 + further)
            together *= (seeds.ln_error / error) ** 2
            fit = tracer(steps, together)
        warnings += [seeds.warning] if seeds.warning else []
    directions = {name: tracer(steps, together, slice(axis, axis + 1)).estimate(level)
                  for axis, name in enumerate("xyz")}
    return _Numbers(fit.estimate(level), collective.estimate(level), haven_ratio(fit, collective, level), directions,
                    tensor_cm2_per_s(steps, fit.posterior), fit.log_moments(), collective.log_moments(), warnings,
                    seeds)


def _limited(window: windows.Window, measured: Measured, hops: float, hop_length_A: float, level: float) -> _Numbers:
    """Upper limits: the larger of what the walk and what the count of hops allow."""
    def limit(fit: Diffusivity) -> float:
        return fit.quantile_cm2_per_s(0.5 + level / 2)

    counted = poisson_limit_cm2_per_s(hops, measured.ion_time_ps, hop_length_A, level)
    fit = tracer(window.steps, window.together, discrete=False)
    high = max(limit(fit), counted)
    collective = max(high, limit(charge(window.steps, fit, window.together)))
    directions = {name: Estimate.upper_limit(high * 3.0, level) for name in "xyz"}  # all of it may be along one axis
    return _Numbers(Estimate.upper_limit(high, level), Estimate.upper_limit(collective, level),
                    Estimate.unknown(level), directions, None, None, None, [])


def _without_charge(numbers: _Numbers, level: float, reference: str) -> _Numbers:
    unknown = Estimate.unknown(level)
    note = f"displacements are against {reference}: the summed displacement says nothing, so no charge diffusivity"
    return _Numbers(numbers.tracer, unknown, unknown, numbers.directions, numbers.tensor, numbers.ln_tracer, None,
                    [*numbers.warnings, note], numbers.seeds)


def _msd_table(measured: Measured, overdispersion: float, level: float) -> dict[str, np.ndarray]:
    """The MSD at up to 80 lags, evenly spaced in their logarithm."""
    low, high = measured.msd_interval(overdispersion, level)
    last = len(measured.msd_A2) - 1
    lags = np.unique(np.round(np.geomspace(1, last, _MSD_POINTS)).astype(int))
    return {"lag_ps": lags * measured.interval_ps, "msd_A2": measured.msd_A2[lags], "low_A2": low[lags],
            "high_A2": high[lags], "charge_msd_A2": measured.charge_msd_A2[lags]}


def _cautions(pool: list[Displacements], measured: Measured, diffusing: bool, window: windows.Window,
              hop_length_A: float) -> list[str]:
    notes = []
    if "remember" in window.reason:
        notes.append("the run is short beside the memory of the ions' motion: D may still fall with a longer run")
    rms = np.sqrt(6.0 * window.fit.likely_cm2_per_s / CM2_PER_S_PER_A2_PER_PS * measured.longest_ps)
    if diffusing and rms < hop_length_A:
        notes.append(f"ions moved {rms:.2g} Å, less than one hop of {hop_length_A:g} Å: back-and-forth hops may count "
                     "as diffusion")
    if diffusing and window.slope > _BALLISTIC_SLOPE:
        notes.append(f"the MSD still rises as lag^{window.slope:.2f} where the fit begins: flight, not diffusion; "
                     "a longer run is needed")
    flowing = sorted({f"{name} {rms:.2g}" for run in pool for name, rms in run.framework_rms_A().items()
                      if rms > _FLOWS_A})
    if flowing:
        notes.append(f"the framework is not at rest (rms displacement from the first frame to the last: "
                     f"{', '.join(flowing)} Å): melted, sliding, or a glass that flows; D is relative to its mean, "
                     "and the conductivity counts the named ions only")
    drift = max(run.max_drift_A for run in pool)
    if drift > 1.0:
        notes.append(f"the frame of reference drifted by {drift:.3g} Å; the drift was taken off")
    return notes
