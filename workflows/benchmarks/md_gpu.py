"""The engine on a GPU: does it agree with the CPU, and how many atom-steps a second for 1, 16 and 64 replicas?

    python workflows/benchmarks/md_gpu.py [-p chgnet | --mace FILE] [--replicas 1 16 64] [--json]

Agreement: the same NVE and NVT run of 80-atom NZSP in float64 on CPU and CUDA, started alike; random numbers are the
host's on both. Speed: replicas of the 80-atom cell in one flat batch, against ASE's Langevin loop with the model's own
calculator on the same device. Without a CUDA device it says so and ends with code 2; ``--device cpu --primitive
--replicas 1 2 --steps 3 --agree-steps 3`` exercises it on the CPU.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from md_step import TEMPERATURE_K, TIMESTEP_FS, Engine, ase_atoms, random_mace

from atomflow import potentials
from atomflow.build.nzsp import build_nzsp
from atomflow.cell import Cell


def agreement(cell: Cell, model: str, device: str, steps: int) -> dict[str, float]:
    """Largest differences after the same ``steps`` on the CPU and on ``device``, float64."""
    found = {}
    for ensemble in ("nve", "nvt"):
        states = []
        for where in ("cpu", device):
            potential = potentials.load(model, device=where, dtype="float64", trust_model=True)
            engine = Engine([cell], potential, ensemble=ensemble)
            engine.run(steps)
            states.append(engine.state)
        one, other = states
        found[f"{ensemble}_positions_A"] = float((one.positions_A - other.positions_A.cpu()).abs().max())
        found[f"{ensemble}_forces_eV_per_A"] = float((one.forces_eV_per_A - other.forces_eV_per_A.cpu()).abs().max())
        found[f"{ensemble}_energy_eV"] = float((one.energies_eV - other.energies_eV.cpu()).abs().max())
    return found


def timed(run: Any, steps: int, device: str) -> float:
    """Seconds a step, after a warm-up, with the device's queue empty before and after."""
    run(max(3, steps // 5))
    _wait(device)
    start = time.perf_counter()
    run(steps)
    _wait(device)
    return (time.perf_counter() - start) / steps


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ase_loop(cell: Cell, potential: potentials.Potential) -> Any:
    from ase.md.langevin import Langevin

    return Langevin(
        ase_atoms(cell, potential.calculator()), timestep=TIMESTEP_FS * ase.units.fs, temperature_K=TEMPERATURE_K,
        friction=0.01 / ase.units.fs, rng=np.random.default_rng(1),
    ).run


def speeds(cell: Cell, model: str, device: str, replicas: list[int], steps: int) -> dict[str, dict[str, float]]:
    """Atom-steps a second of ASE's loop and of the engine for each number of replicas, float32."""
    potential = potentials.load(model, device=device, dtype="float32", trust_model=True)
    base = timed(ase_loop(cell, potential), steps, device)
    rows = {"ase, 1 replica": {"s_per_step": base, "atom_steps_per_s": len(cell) / base, "ratio": 1.0}}
    for count in replicas:
        seconds = timed(Engine([cell] * count, potential, ensemble="nvt").run, steps, device)
        rate = count * len(cell) / seconds
        rows[f"atomflow, {count} replica{'s' if count > 1 else ''}"] = {
            "s_per_step": seconds, "atom_steps_per_s": rate, "ratio": rate * base / len(cell),
        }
    if device == "cuda":
        rows["peak memory"] = {"GB": torch.cuda.max_memory_allocated() / 1e9}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-p", "--potential", help="registry name; default: a MACE with random weights")
    parser.add_argument("--mace", type=Path, help="MACE file")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--agree-steps", type=int, default=50)
    parser.add_argument("--primitive", action="store_true", help="the 40-atom primitive cell, for a quick look")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: this benchmark needs one (--device cpu exercises it)", file=sys.stderr)
        return 2
    cell = build_nzsp(order="ordered", primitive=chosen.primitive)
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.potential is None and chosen.mace is None:
            os.environ["ATOMFLOW_CACHE"] = scratch
            chosen.mace = random_mace(Path(scratch) / "m.model", cell.numbers)
        model = str(chosen.mace or chosen.potential)
        differences = agreement(cell, model, chosen.device, chosen.agree_steps)
        rows = speeds(cell, model, chosen.device, chosen.replicas, chosen.steps)
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "cpu"
    if chosen.json:
        print(json.dumps({"device": name, "atoms": len(cell), "differences": differences, "speed": rows}, indent=2))
        return 0
    print(f"CPU against {name}, float64, after {chosen.agree_steps} steps:")
    for quantity, value in differences.items():
        print(f"  {quantity:24s} {value:.2e}")
    print(f"speed on {name}, float32, {len(cell)} atoms a replica:")
    for label, row in rows.items():
        print(f"  {label:24s} " + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
