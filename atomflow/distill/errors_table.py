"""A student against its teacher on labelled frames: errors by family, temperature, system and element."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.distill.frames import Frame, Labels, labels_of
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.units import EV_PER_A3_IN_GPA

#: Frames of dynamics hotter than this are told apart in the table of families: a glass of these oxides is a melt there.
HOT_ABOVE_K = 1000.0


@dataclass(frozen=True, eq=False)
class Pair:
    """One frame with what the teacher (``frame.labels``) and the student say of it."""

    frame: Frame
    student: Labels

    @property
    def force_errors_eV_per_A(self) -> np.ndarray:
        return self.student.forces_eV_per_A - labels_of(self.frame).forces_eV_per_A


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one group of frames.

    ``slope`` is that of student forces against teacher forces through the origin (below one: too soft).
    ``energy_spread_meV_per_atom`` is the standard deviation of the energy errors within the group: what is left when a
    constant shift, which no dynamics feels, is taken off. The interval of the RMSE is over systems (bootstrap).
    """

    group: str
    frames: int
    systems: int
    force_rmse_eV_per_A: Estimate
    force_mae_eV_per_A: float
    force_rms_eV_per_A: float
    slope: float
    energy_rmse_meV_per_atom: float
    energy_spread_meV_per_atom: float
    stress_rmse_GPa: float

    def to_json(self) -> dict[str, Any]:
        return {key: value.to_json() if isinstance(value, Estimate) else value for key, value in vars(self).items()}


def evaluate(frames: Iterable[Frame], calculator: Any, progress: Callable[[int], None] = lambda n: None) -> list[Pair]:
    """The student's labels of every frame, through its ASE calculator."""
    pairs = []
    for number, frame in enumerate(frames):
        atoms = frame.to_ase()
        atoms.calc = calculator
        forces = np.array(atoms.get_forces(), np.float64)
        own = Labels(float(atoms.get_potential_energy()), forces, np.array(atoms.get_stress(voigt=False)))
        pairs.append(Pair(frame, own))
        progress(number + 1)
    return pairs


def error_row(group: str, pairs: Sequence[Pair], seed: int = 0, draws: int = 400) -> ErrorRow:
    """Errors of a group of pairs; :class:`InputError` when it is empty."""
    if not pairs:
        raise InputError(f"there are no frames in the group {group}")
    errors = np.concatenate([pair.force_errors_eV_per_A.ravel() for pair in pairs])
    teacher = np.concatenate([labels_of(pair.frame).forces_eV_per_A.ravel() for pair in pairs])
    energy = np.array([(pair.student.energy_eV - labels_of(pair.frame).energy_eV) / pair.frame.n_atoms
                       for pair in pairs]) * 1e3
    stress = np.concatenate([(pair.student.stress_eV_per_A3 - labels_of(pair.frame).stress_eV_per_A3).ravel()
                             for pair in pairs]) * EV_PER_A3_IN_GPA
    weight = float((teacher**2).sum())
    return ErrorRow(
        group=group, frames=len(pairs), systems=len({pair.frame.system for pair in pairs}),
        force_rmse_eV_per_A=_rmse_interval(pairs, seed, draws),
        force_mae_eV_per_A=float(np.abs(errors).mean()), force_rms_eV_per_A=float(np.sqrt((teacher**2).mean())),
        slope=1.0 + float(errors @ teacher) / weight if weight > 0 else float("nan"),
        energy_rmse_meV_per_atom=float(np.sqrt((energy**2).mean())), energy_spread_meV_per_atom=float(energy.std()),
        stress_rmse_GPa=float(np.sqrt((stress**2).mean())),
    )


def _rmse_interval(pairs: Sequence[Pair], seed: int, draws: int, level: float = 0.95) -> Estimate:
    """Force RMSE with its bootstrap interval over systems; no interval from fewer than three systems."""
    sums: dict[str, list[float]] = {}
    for pair in pairs:
        entry = sums.setdefault(pair.frame.system, [0.0, 0.0])
        entry[0] += float((pair.force_errors_eV_per_A**2).sum())
        entry[1] += 3 * pair.frame.n_atoms
    table = np.array(list(sums.values()))
    value = float(np.sqrt(table[:, 0].sum() / table[:, 1].sum()))
    if len(table) < 3:
        return Estimate(value, None, None, level)
    rng = np.random.default_rng(seed)
    chosen = table[rng.integers(len(table), size=(draws, len(table)))].sum(axis=1)
    low, high = np.quantile(np.sqrt(chosen[:, 0] / chosen[:, 1]), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), level)


def by_family(pairs: Sequence[Pair]) -> list[ErrorRow]:
    """Rows by family, how its frames came about, and whether they are hot (above :data:`HOT_ABOVE_K`)."""
    return _grouped(
        pairs, lambda pair: f"{pair.frame.family}, {pair.frame.how.split('-')[0]}{heat(pair.frame.temperature_K)}"
    )


def heat(temperature_K: float | None) -> str:
    """How a group of frames of this temperature ends: ``", to 1000 K"``, ``", above 1000 K"``, or nothing."""
    if temperature_K is None:
        return ""
    return f", {'above' if temperature_K > HOT_ABOVE_K else 'to'} {HOT_ABOVE_K:.0f} K"


def by_temperature(pairs: Sequence[Pair]) -> list[ErrorRow]:
    """Rows by family and temperature of the molecular dynamics; frames without one do not appear."""
    hot = [pair for pair in pairs if pair.frame.temperature_K is not None]
    return _grouped(hot, lambda pair: f"{pair.frame.family}, {pair.frame.temperature_K:4.0f} K")


def by_system(pairs: Sequence[Pair], worst: int = 12) -> list[ErrorRow]:
    """The systems with the largest force errors, worst first."""
    rows = _grouped(pairs, lambda pair: pair.frame.system)
    return sorted(rows, key=lambda row: -(row.force_rmse_eV_per_A.value or 0))[:worst]


def by_element(pairs: Sequence[Pair]) -> dict[str, dict[str, dict[str, float]]]:
    """Family → element → force RMSE, teacher's RMS force (eV/Å) and slope."""
    families = sorted({pair.frame.family for pair in pairs})
    return {family: _elements_of([pair for pair in pairs if pair.frame.family == family]) for family in families}


def _elements_of(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    from ase.data import chemical_symbols

    table = {}
    for z in sorted({int(z) for pair in pairs for z in pair.frame.numbers}):
        own = [pair for pair in pairs if (pair.frame.numbers == z).any()]
        errors = np.concatenate([pair.force_errors_eV_per_A[pair.frame.numbers == z].ravel() for pair in own])
        teacher = np.concatenate([labels_of(pair.frame).forces_eV_per_A[pair.frame.numbers == z].ravel()
                                  for pair in own])
        table[chemical_symbols[z]] = {
            "force_rmse_eV_per_A": float(np.sqrt((errors**2).mean())),
            "force_rms_eV_per_A": float(np.sqrt((teacher**2).mean())),
            "slope": 1.0 + float(errors @ teacher) / max(float(teacher @ teacher), 1e-12),
        }
    return table


def _grouped(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> list[ErrorRow]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return [error_row(name, members) for name, members in sorted(groups.items())]
