"""Replicas: structures of a campaign that differ in nothing but seeds, like three glasses of one composition.

Seeds of one structure are pooled displacement by displacement. Replicas are not: each glass has a D of its own, and the
scatter between them belongs to the uncertainty. Their ln D are combined with a random-effects mean: weights
1/(s² + τ²), τ² the variance between replicas by DerSimonian and Laird (Control. Clin. Trials 7 (1986) 177), the
interval by Hartung and Knapp (Stat. Med. 20 (2001) 3875) with Student's t of n − 1, never narrower than the replicas'
own errors allow. So D of a set is a geometric mean.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.arrhenius import Line, Point, fit
from atomflow.transport.result import TransportResult


@dataclass(frozen=True)
class ReplicaGroup:
    """One D of several replicas at one temperature.

    Attributes:
        name: of the set. structures: those with a D or a limit here.
        tracer_diffusivity_cm2_per_s: geometric mean; nernst_einstein_conductivity_S_per_cm: of it.
        ln_tracer: mean and the half-width of its interval over the normal quantile, for an Arrhenius line.
        between: standard deviation of ln D between replicas beyond their own errors (τ); None for upper limits.
        warnings: in words.
    """

    name: str
    structures: tuple[str, ...]
    temperature_K: float
    tracer_diffusivity_cm2_per_s: Estimate
    nernst_einstein_conductivity_S_per_cm: Estimate
    ln_tracer: tuple[float, float] | None
    between: float | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def replicas_of(folder: str | Path, results: Sequence[tuple[str, str, TransportResult]], level: float = 0.95
                ) -> tuple[list[ReplicaGroup], dict[str, Line]]:
    """Every set of replicas at every temperature at which two or more of it were run alike, and their Arrhenius lines.

    Args:
        results: (what else the physics depends on, structure, result) of every group of the campaign.
    """
    pooled = []
    for name, structures in replica_sets(folder).items():
        alike: dict[tuple[float, str], list[tuple[str, TransportResult]]] = defaultdict(list)
        for identity, structure, result in results:
            if structure in structures:
                alike[(result.temperature_K or 0.0, identity)].append((structure, result))
        pooled += [pool_replicas(name, members, level) for _, members in sorted(alike.items()) if len(members) > 1]
    points: dict[str, list[Point]] = defaultdict(list)
    for group in pooled:
        if group.ln_tracer is not None:
            points[group.name].append(Point(group.temperature_K, *group.ln_tracer))
    return pooled, {name: fit(found, (), level) for name, found in points.items() if len(found) > 1}


def replica_sets(folder: str | Path) -> dict[str, list[str]]:
    """Name → structures of a campaign folder that differ in nothing but seeds, two or more of each; none elsewhere."""
    try:
        structures = json.loads((Path(folder) / "campaign.json").read_text())["config"]["structures"]
        items = [(name, json.dumps(_without_seeds(given), sort_keys=True)) for name, given in structures.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    alike: dict[str, list[str]] = defaultdict(list)
    for name, rest in items:
        alike[rest].append(name)
    return {_common(names): names for names in alike.values() if len(names) > 1}


def pool_replicas(name: str, members: Sequence[tuple[str, TransportResult]], level: float = 0.95) -> ReplicaGroup:
    """D of a set at one temperature from (structure, result) of two or more replicas.

    Where some replicas moved too little for a number, the geometric mean of all upper ends is an upper limit: leaving
    them out would favour the fast ones.
    """
    results = [result for _, result in members]
    kelvin = float(np.mean([result.actual_temperature_K or 0.0 for result in results]))
    known = [result.ln_tracer for result in results if result.ln_tracer is not None]
    ends = [result.tracer_diffusivity_cm2_per_s.high for result in results]
    tracer, ln, between, notes = Estimate.unknown(level), None, None, []
    if len(known) == len(results):
        mean, half, between = random_effects([m for m, _ in known], [s for _, s in known], level)
        value, low, high = np.exp([mean, mean - half, mean + half]).tolist()
        tracer = Estimate(value, low, high, level)
        ln = (mean, half / float(scipy.stats.norm.ppf(0.5 + level / 2)))
    elif all(ends):
        tracer = Estimate.upper_limit(float(np.exp(np.mean(np.log(ends)))), level)  # type: ignore[arg-type]
        notes.append(f"{name}, {kelvin:.0f} K: {len(results) - len(known)} of {len(results)} replicas moved too little "
                     "for a number: an upper limit for all")
    sigma = Estimate.unknown(level)
    if tracer.high is not None and kelvin > 0:
        sigma = tracer.scaled(float(np.mean([_sigma_T_over_d(result) for result in results])) / kelvin)
    return ReplicaGroup(name, tuple(structure for structure, _ in members), kelvin, tracer, sigma, ln, between,
                        tuple(notes))


def _sigma_T_over_d(result: TransportResult) -> float:
    """σT/D of one replica by Nernst–Einstein, q²n/(Vk): the charge it was analyzed with is in it."""
    sigma, diffusivity = result.nernst_einstein_conductivity_S_per_cm.high, result.tracer_diffusivity_cm2_per_s.high
    return (result.actual_temperature_K or 0.0) * (sigma or 0.0) / (diffusivity or 1.0)


def random_effects(means: Sequence[float], errors: Sequence[float], level: float = 0.95
                   ) -> tuple[float, float, float]:
    """Mean, half-width of its interval, and standard deviation between replicas, of two or more values with errors."""
    y, variance = np.array(means), np.array(errors) ** 2
    n, fixed = len(y), 1.0 / variance
    centre = (fixed @ y) / fixed.sum()
    excess = fixed @ (y - centre) ** 2 - (n - 1)
    between = max(0.0, float(excess / (fixed.sum() - (fixed**2).sum() / fixed.sum())))
    weights = 1.0 / (variance + between)
    mean = float(weights @ y / weights.sum())
    scatter = float(weights @ (y - mean) ** 2 / ((n - 1) * weights.sum()))
    half = float(scipy.stats.t.ppf(0.5 + level / 2, n - 1)) * scatter**0.5
    own = float(scipy.stats.norm.ppf(0.5 + level / 2)) * float(fixed.sum()) ** -0.5
    return mean, max(half, own), between**0.5


def _without_seeds(given: Any) -> Any:
    if isinstance(given, dict):
        return {key: _without_seeds(value) for key, value in given.items() if key != "seed"}
    return given


def _common(names: Sequence[str]) -> str:
    """What the names begin with, without the mark before their numbers; the first name where that is nothing."""
    first, last = min(names), max(names)
    length = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length].rstrip("-_. 0123456789") or first
