"""What the analysis of one group of runs says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from atomflow.estimate import Estimate
from atomflow.plain import Shown, named, with_error
from atomflow.transport.seeds import Agreement


def in_words(target_K: float | None, mean_K: float | None, error_K: float | None) -> str:
    """The temperature asked for and the one that was measured, with its standard error."""
    words = f"{target_K:.4g} K" if target_K else "unknown temperature"
    return f"{words} (measured {with_error(mean_K, error_K, '.0f')} K)" if mean_K else words


@dataclass(frozen=True, repr=False)
class TransportResult(Shown):
    """Transport of one species at one temperature, pooled over seeds. Units are in the names.

    ``seeds`` says how far pooled seeds agree; None of a single run, and of an upper limit.

    ``temperature_error_K`` is one standard error of ``temperature_mean_K``; None of too few rows, or of a ramp.
    ``ln_tracer`` and ``ln_charge`` are (mean, standard deviation) of ln(D / cm² s⁻¹) for the Arrhenius fit; ``None``
    for an upper limit, of which ``hops`` and ``hop_exposure_s_per_cm2`` (hops per unit of D) tell the likelihood.
    """

    species: str
    sources: tuple[str, ...]
    temperature_K: float | None
    temperature_mean_K: float | None
    temperature_error_K: float | None
    n_ions: int
    n_frames: int
    n_runs: int
    total_time_ps: float
    frame_interval_ps: float
    discard_ps: float
    volume_A3: float
    cell: dict[str, Any]
    potential: dict[str, Any] | None
    tracer_diffusivity_cm2_per_s: Estimate
    charge_diffusivity_cm2_per_s: Estimate
    haven_ratio: Estimate
    conductivity_S_per_cm: Estimate
    nernst_einstein_conductivity_S_per_cm: Estimate
    directions: dict[str, Estimate]
    tensor_cm2_per_s: np.ndarray | None
    diffusing: bool
    verdict: str
    fit_window_ps: tuple[float, float]
    fit_window_reason: str
    overdispersion: float
    msd: dict[str, np.ndarray]
    drift_A: float
    reference: str
    hops: float
    hop_length_A: float
    hop_exposure_s_per_cm2: float
    ln_tracer: tuple[float, float] | None
    ln_charge: tuple[float, float] | None
    seeds: Agreement | None
    warnings: tuple[str, ...]

    @property
    def actual_temperature_K(self) -> float | None:
        """The temperature the atoms had where it was recorded, else the one asked for."""
        return self.temperature_mean_K or self.temperature_K

    def text(self) -> str:
        """For people, as ``atomflow analyze`` prints it."""
        temperature = in_words(self.temperature_K, self.temperature_mean_K, self.temperature_error_K)
        level = f"{100 * self.tracer_diffusivity_cm2_per_s.level:g} %"
        lines = [
            f"{self.n_ions} {self.species} at {temperature}; {self.n_runs} run(s), {self.total_time_ps:.4g} ps, "
            f"{self.n_frames} frames",
            f"cell         {self.cell.get('formula') or 'unknown'}, {self.volume_A3:.5g} Å³; potential: "
            f"{named(self.potential)}",
            f"verdict      {self.verdict}",
            f"fit window   {self.fit_window_reason}",
            f"reference    {self.reference}; it drifted {self.drift_A:.2g} Å",
            "",
            f"{'quantity':<32}value [{level} interval]",
            f"{'tracer diffusivity, cm²/s':<32}{self.tracer_diffusivity_cm2_per_s:.3g}",
            f"{'charge diffusivity, cm²/s':<32}{self.charge_diffusivity_cm2_per_s:.3g}",
            f"{'Haven ratio':<32}{self.haven_ratio:.2g}",
            f"{'conductivity, S/cm':<32}{self.conductivity_S_per_cm:.3g}",
            f"{'  Nernst-Einstein, S/cm':<32}{self.nernst_einstein_conductivity_S_per_cm:.3g}",
            *(f"{f'  tracer along {axis}, cm²/s':<32}{estimate:.3g}" for axis, estimate in self.directions.items()),
            *([f"{'  tracer of each seed, cm²/s':<32}{self.seeds.text()}"] if self.seeds else []),
        ]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        """The object ``atomflow analyze --json`` prints; the keys are described in docs/transport.md."""
        same = ("species", "temperature_K", "temperature_mean_K", "temperature_error_K", "n_ions", "n_frames",
                "n_runs", "total_time_ps", "frame_interval_ps", "discard_ps", "volume_A3", "cell", "potential",
                "diffusing", "verdict", "fit_window_reason", "overdispersion", "drift_A", "reference", "hop_length_A")
        estimates = ("tracer_diffusivity_cm2_per_s", "charge_diffusivity_cm2_per_s", "haven_ratio",
                     "conductivity_S_per_cm", "nernst_einstein_conductivity_S_per_cm")
        tensor = None if self.tensor_cm2_per_s is None else self.tensor_cm2_per_s.tolist()
        directions = {axis: estimate.to_json() for axis, estimate in self.directions.items()}
        return {
            "kind": "run",
            "sources": list(self.sources),
            **{name: getattr(self, name) for name in same},
            **{name: getattr(self, name).to_json() for name in estimates},
            "diffusivity_tensor_cm2_per_s": {"axes": "cartesian", "tensor": tensor, **directions},
            "fit_window_ps": list(self.fit_window_ps),
            "equivalent_hops": self.hops,
            "seeds": self.seeds and asdict(self.seeds),
            "msd": {name: values.tolist() for name, values in self.msd.items()},
            "warnings": list(self.warnings),
        }
