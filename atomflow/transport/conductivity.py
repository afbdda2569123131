"""Conductivity from diffusivity: σ = n q² D / kT, with the tracer D (Nernst–Einstein) or the charge D."""

from __future__ import annotations

import numpy as np

from atomflow.estimate import Estimate
from atomflow.transport.diffusion import Diffusivity
from atomflow.units import A3_IN_CM3, BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C

_SAMPLES = 20_000


def siemens_per_cm(n_ions: int, volume_A3: float, temperature_K: float, charge_e: float = 1.0) -> float:
    """σ/D in (S/cm)/(cm²/s): n q²/(V k T). One C²/(cm³ J) times cm²/s is one S/cm."""
    charge_squared = (charge_e * ELEMENTARY_CHARGE_C) ** 2
    return n_ions * charge_squared / (volume_A3 * A3_IN_CM3 * BOLTZMANN_J_PER_K * temperature_K)


def haven_ratio(tracer: Diffusivity, charge: Diffusivity, level: float) -> Estimate:
    """H = D_tracer/D_charge with both uncertainties, as if they were independent (they are nearly so)."""
    rng = np.random.default_rng(0)
    ratio = tracer.sample_cm2_per_s(_SAMPLES, rng) / charge.sample_cm2_per_s(_SAMPLES, rng)
    low, value, high = np.quantile(ratio, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    return Estimate(float(value), float(low), float(high), level)
