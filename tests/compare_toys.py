"""Planted campaigns, as the analysis gives them."""

from atomflow.compare import compare

COLD = (300.0, 330.0, 365.0, 400.0)
HOT = (800.0, 1000.0, 1200.0, 1500.0)
NZSP = {"formula": "Na12Zr8Si8P4O48", "n_atoms": 80, "volume_A3": 1086.5, "regions": {"bulk": 80}}


def estimate(value, low, high):
    return {"value": value, "low": low, "high": high, "level": 0.95}


def group(temperature, structure="ordered", potential="chgnet", **changes):
    return {
        "kind": "run", "structure": structure, "species": "Na", "temperature_K": temperature, "n_ions": 12,
        "total_time_ps": 50.0, "n_runs": 2, "cell": NZSP, "potential": {"name": potential}, "diffusing": True,
        "tracer_diffusivity_cm2_per_s": estimate(1e-8, 8e-9, 1.2e-8),
        "charge_diffusivity_cm2_per_s": estimate(2e-8, 1.4e-8, 2.6e-8), "haven_ratio": estimate(0.5, 0.3, 0.7),
        "conductivity_S_per_cm": estimate(1.4e-3, 1.0e-3, 1.8e-3), "warnings": [], **changes,
    }  # fmt: skip


def line(temperatures, energy, structure="ordered", potential="chgnet", **changes):
    return {
        "structure": structure, "potential": potential, "activation_energy_eV": energy,
        "activation_energy_sigmaT_eV": estimate(None, None, None), "prefactor_cm2_per_s": estimate(1e-3, 1e-4, 1e-2),
        "temperatures_K": list(temperatures), "used": list(temperatures), "upper_limits": [], "kink": None,
        "extrapolation": {"temperature_K": 298.15, "distance": "502 K below the coldest run",
                          "tracer_diffusivity_cm2_per_s": estimate(1.5e-8, 5e-9, 5e-8)},
        "warnings": [], **changes,
    }  # fmt: skip


def campaign(temperatures, energy=None, **changes):
    fits = [] if energy is None else [line(temperatures, estimate(*energy), **changes)]
    return {"kind": "campaign", "name": "planted", "groups": [group(t) for t in temperatures], "arrhenius": fits,
            "excluded": [], "warnings": []}


def rows(data, publication=None):
    return {row.target.id: row for row in compare(data, publication).rows}
