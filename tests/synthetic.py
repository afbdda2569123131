"""Campaigns of a known answer, written through the public run-folder API in a second: no potential, no dynamics.

Every Na walks at random with D(T) = D0 exp(-Ea / kT) on top of a vibration; the framework only vibrates. Nothing in
here is a prediction of anything: it is what tests and an offline notebook look at when there is no real campaign.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atomflow.cell import Cell, read_cell
from atomflow.runs import RunWriter
from atomflow.units import BOLTZMANN_EV_PER_K, CM2_PER_S_PER_A2_PER_PS

ROOT = Path(__file__).resolve().parent.parent
ORDERED = ROOT / "structures" / "NZSP_C2c_ordered_DFTcoords_PDF84-1200cell.cif"

POTENTIAL = {
    "name": "synthetic random walk",
    "kind": "pair",
    "sha256": "5" * 64,
    "elements": ["Na", "Zr", "Si", "P", "O"],
    "cutoff_A": 6.0,
    "dtype": "float64",
    "source": "tests/synthetic.py",
    "reference": "none: positions drawn at random, no forces",
    "trained_for": "nothing; it shows how a report looks",
}


def diffusivity_cm2_per_s(temperature_K: float, d0_cm2_per_s: float, ea_eV: float) -> float:
    """D0 exp(-Ea / kT)."""
    return d0_cm2_per_s * float(np.exp(-ea_eV / (BOLTZMANN_EV_PER_K * temperature_K)))


def ordered_cell() -> Cell:
    """The ordered C2/c cell, 80 atoms."""
    return read_cell(ORDERED)


def write_run(
    folder: Path,
    temperature_K: float,
    d_cm2_per_s: float,
    seed: int = 1,
    structure: str = "ordered",
    n_frames: int = 1000,
    frame_interval_fs: float = 40.0,
    cell: Cell | None = None,
    state: str = "done",
    reason: str | None = None,
    warnings: Sequence[str] = (),
    equilibration_ps: float = 2.0,
) -> Path:
    """One run folder whose Na diffuse with ``d_cm2_per_s``; ``state`` as its manifest shall say."""
    cell = cell or ordered_cell()
    rng = np.random.default_rng([seed, round(temperature_K)])
    symbols = cell.symbols
    mobile = np.flatnonzero(symbols == "Na")
    step_A = np.sqrt(2 * d_cm2_per_s / CM2_PER_S_PER_A2_PER_PS * frame_interval_fs / 1000.0)
    vibration_A = 0.1 * np.sqrt(temperature_K / 600.0)
    walk = np.cumsum(rng.normal(0.0, step_A, (n_frames, len(mobile), 3)), axis=0) - step_A
    config = {
        "ensemble": "nvt",
        "temperature_K": float(temperature_K),
        "time_ps": (n_frames - 1) * frame_interval_fs / 1000.0,
        "equilibration_ps": equilibration_ps,
        "timestep_fs": 2.0,
        "thermostat": "bussi",
        "frame_interval_fs": frame_interval_fs,
        "seed": seed,
    }
    steps = round((n_frames - 1) * frame_interval_fs / 2.0)
    labels = {"structure": structure, "task": folder.name, "campaign": "synthetic"}
    writer = RunWriter.create(folder, config, cell, POTENTIAL, labels, steps)
    for text in warnings:
        writer.warn(text)
    _thermo(writer, temperature_K, len(cell), n_frames, frame_interval_fs, equilibration_ps, rng)
    for index in range(n_frames):
        positions = cell.positions_A + rng.normal(0.0, vibration_A, cell.positions_A.shape)
        positions[mobile] += walk[index]
        writer.frame(round(index * frame_interval_fs / 2.0), index * frame_interval_fs, positions, cell.lattice_A)
    time_ps = config["time_ps"]
    progress = {"step": steps, "steps_total": steps, "frames": n_frames, "time_ps": time_ps, "steps_per_s": 123.0}
    writer.commit({"note": "synthetic"}, progress)
    summary = {
        "temperature_mean_K": temperature_K * 1.004,
        "temperature_error_K": temperature_K * 0.0137,
        "temperature_std_K": temperature_K * np.sqrt(2 / (3 * len(cell))),
        "energy_drift_meV_per_atom_per_ps": 0.01,
    }
    writer.finish(state, reason, summary if state == "done" else {})
    return folder


def _thermo(writer, temperature_K, n_atoms, n_frames, interval_fs, equilibration_ps, rng) -> None:
    start = -round(equilibration_ps * 1000 / interval_fs)
    noise = rng.normal(0.0, temperature_K * np.sqrt(2 / (3 * n_atoms)), n_frames - start)
    for row, index in enumerate(range(start, n_frames)):
        temperature = temperature_K + noise[row]
        values = {"temperature_K": temperature, "potential_energy_eV": -8.0 * n_atoms}
        values["kinetic_energy_eV"] = 1.5 * n_atoms * BOLTZMANN_EV_PER_K * temperature
        values["conserved_energy_eV"] = -7.9 * n_atoms + 1e-5 * n_atoms * max(index, 0) * interval_fs / 1000
        writer.thermo(round(index * interval_fs / 2.0), index * interval_fs, values)


def write_campaign(
    folder: Path,
    temperatures_K: Sequence[float] = (600, 700, 800, 900),
    seeds: Sequence[int] = (1, 2),
    d0_cm2_per_s: float = 1.5e-3,
    ea_eV: float = 0.32,
    structures: Sequence[str] = ("ordered",),
    n_frames: int = 1000,
    frame_interval_fs: float = 40.0,
    name: str = "synthetic",
) -> Path:
    """A campaign folder of finished runs whose diffusivities follow one Arrhenius line."""
    folder.mkdir(parents=True, exist_ok=True)
    cell = ordered_cell()
    campaign = {"format": "atomflow-campaign", "format_version": 1, "name": name, "synthetic": True}
    (folder / "campaign.json").write_text(json.dumps(campaign))
    for structure in structures:
        for temperature in temperatures_K:
            d = diffusivity_cm2_per_s(temperature, d0_cm2_per_s, ea_eV)
            for seed in seeds:
                run = folder / "runs" / f"{structure}-{temperature:g}K-{seed}"
                write_run(run, temperature, d, seed, structure, n_frames, frame_interval_fs, cell)
    return folder
