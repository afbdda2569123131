"""One step of molecular dynamics, 80-atom NZSP, one CPU thread: atomflow's engine against what people run today.

    python workflows/benchmarks/md_step.py [--mace FILE] [--rounds 15] [--json]

Each contestant has a process of its own, and they take turns, so that a busy machine slows everybody alike and nobody
profits from the other's settings. Medians of the turns:

* velocity Verlet and Langevin: against ASE's VelocityVerlet and Langevin with MACECalculator on the same MACE file
  (without ``--mace``: random weights, 64x0e, max_ell 2, correlation 2, cutoff 5 Å; speed does not ask what is learned);
* NVT: against CHGNet's own ``chgnet.model.dynamics.MolecularDynamics``.

A ratio above 1 says that atomflow is faster. ``cpu`` counts processor time, ``wall`` the clock.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch

from atomflow import potentials
from atomflow.build.nzsp import build_nzsp
from atomflow.cell import Cell
from atomflow.md.config import MDConfig
from atomflow.md.forces import Forces
from atomflow.md.guards import Guard
from atomflow.md.protocols import Protocol
from atomflow.md.state import State, from_cells, thermal_velocities
from atomflow.potentials.mace.imports import mace_module

TARGETS = {"mace nve": 1.15, "mace langevin": 1.15, "chgnet nvt": 1.6}
TEMPERATURE_K, TIMESTEP_FS, FRICTION_PER_PS = 300.0, 2.0, 10.0


class Engine:
    """The engine's own loop: a step and its guards."""

    def __init__(self, cells: list[Cell], potential: potentials.Potential, **settings: Any) -> None:
        configs = [
            MDConfig(temperature_K=TEMPERATURE_K, time_ps=1000.0, timestep_fs=TIMESTEP_FS, seed=k + 1, **settings)
            for k in range(len(cells))
        ]
        self.state: State = from_cells(cells, potential.device)
        seeds = [config.seed for config in configs]
        self.state.velocities_A_per_fs = thermal_velocities(self.state, [TEMPERATURE_K] * len(cells), seeds)
        self.forces = Forces(potential, self.state, configs[0].skin_A, TIMESTEP_FS)
        self.protocol = Protocol(self.state, configs)
        self.guard = Guard(self.state, configs, [cell.volume_A3 for cell in cells])
        self.guard_every = 1 if potential.device.type == "cpu" else 10
        self.forces(self.state)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.protocol.advance(self.state, self.forces)
            if self.state.step % self.guard_every == 0:
                failures = self.guard.check(self.state, self.forces.neighbours)
                if failures:
                    raise SystemExit(f"the benchmark's dynamics went wrong: {failures[0].reason}")


def random_mace(path: Path, numbers: np.ndarray) -> Path:
    """A MACE of the size worth running on a CPU, with random weights, saved as mace-torch saves its models."""
    modules = mace_module("modules")
    from e3nn import o3

    torch.manual_seed(1)
    elements = sorted({int(z) for z in numbers})
    model = modules.ScaleShiftMACE(
        r_max=5.0, num_bessel=8, num_polynomial_cutoff=5, max_ell=2, num_interactions=2, num_elements=len(elements),
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        hidden_irreps=o3.Irreps("64x0e"), MLP_irreps=o3.Irreps("16x0e"), gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(elements)), avg_num_neighbors=50.0, atomic_numbers=elements, correlation=2,
        atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )
    torch.save(model, path)
    return path


def ase_atoms(cell: Cell, calculator: Any) -> Any:
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = cell.to_ase()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE_K, rng=np.random.default_rng(1))
    return atoms


def ours(name: str, cell: Cell, model: str) -> Callable[[int], Any]:
    potential = potentials.load(model, device="cpu", dtype="float32", trust_model=True)
    settings = {
        "mace nve": {"ensemble": "nve"},
        "mace langevin": {"thermostat": "langevin", "thermostat_time_fs": 1000 / FRICTION_PER_PS},
        "chgnet nvt": {"ensemble": "nvt"},
    }[name]
    return Engine([cell], potential, **settings).run


def theirs(name: str, cell: Cell, model: str) -> Callable[[int], Any]:
    if name == "chgnet nvt":
        from chgnet.model import CHGNet
        from chgnet.model.dynamics import MolecularDynamics

        chgnet = CHGNet.load(use_device="cpu", verbose=False)
        return MolecularDynamics(
            atoms=ase_atoms(cell, None), model=chgnet, ensemble="nvt", temperature=int(TEMPERATURE_K),
            timestep=TIMESTEP_FS, use_device="cpu", loginterval=1000,
        ).run
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # how mace-torch opens its own files
    calculator = mace_module("calculators").MACECalculator(model_paths=model, device="cpu", default_dtype="float32")
    atoms = ase_atoms(cell, calculator)
    if name == "mace nve":
        return VelocityVerlet(atoms, timestep=TIMESTEP_FS * ase.units.fs).run
    return Langevin(atoms, timestep=TIMESTEP_FS * ase.units.fs, temperature_K=TEMPERATURE_K,
                    friction=FRICTION_PER_PS / 1000 / ase.units.fs, rng=np.random.default_rng(1)).run


def contestant(pipe: Any, side: str, name: str, cell: Cell, model: str) -> None:
    """A process that runs as many steps as it is told and answers with (wall, processor) seconds a step."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # what the packages print goes to standard error
    run = (ours if side == "ours" else theirs)(name, cell, model)
    run(3)
    pipe.send("ready")
    while steps := pipe.recv():
        clock, processor = time.perf_counter(), time.process_time()
        run(steps)
        pipe.send(((time.perf_counter() - clock) / steps, (time.process_time() - processor) / steps))


def duel(name: str, cell: Cell, model: str, rounds: int, steps: int) -> dict[str, float]:
    """Turn by turn; medians of seconds a step, their ratios, and the median of the rounds' own ratios."""
    context = multiprocessing.get_context("spawn")
    pipes, times = {}, {"ours": [], "theirs": []}
    for side in times:
        pipes[side], far = context.Pipe()
        context.Process(target=contestant, args=(far, side, name, cell, model), daemon=True).start()
        pipes[side].recv()
    for turn in range(rounds):
        for side in list(times)[:: 1 if turn % 2 == 0 else -1]:
            pipes[side].send(steps)
            times[side].append(pipes[side].recv())
    for pipe in pipes.values():
        pipe.send(0)
    wall, cpu = ({side: np.array(values)[:, k] for side, values in times.items()} for k in (0, 1))
    return {
        "ours_s_per_step": float(np.median(wall["ours"])),
        "theirs_s_per_step": float(np.median(wall["theirs"])),
        "ratio_wall": float(np.median(wall["theirs"]) / np.median(wall["ours"])),
        "ratio_cpu": float(np.median(cpu["theirs"]) / np.median(cpu["ours"])),
        "ratio_of_rounds_wall": float(np.median(wall["theirs"] / wall["ours"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--mace", type=Path, help="MACE file; random weights when not given")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--only", choices=["mace", "chgnet"])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    cell = build_nzsp(order="ordered", cell="experimental")
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.mace is None:
            os.environ["ATOMFLOW_CACHE"] = scratch  # trust in a throw-away model is thrown away with it
        for name in TARGETS:
            if chosen.only and not name.startswith(chosen.only):
                continue
            model: Path | str = "chgnet"
            if name.startswith("mace"):
                model = chosen.mace or random_mace(Path(scratch) / "m.model", cell.numbers)
            results[name] = duel(name, cell, str(model), chosen.rounds, chosen.steps)
    if chosen.json:
        print(json.dumps({"atoms": len(cell), "threads": 1, "results": results}, indent=2))
        return
    print(f"{len(cell)} atoms, one thread, float32, {chosen.rounds} turns of {chosen.steps} steps each")
    for name, r in results.items():
        print(f"{name:14s} atomflow {1000 * r['ours_s_per_step']:7.1f} ms/step, other "
              f"{1000 * r['theirs_s_per_step']:7.1f} ms/step: {r['ratio_wall']:.2f} x (wall), {r['ratio_cpu']:.2f} x "
              f"(cpu), {r['ratio_of_rounds_wall']:.2f} x (median round); target {TARGETS[name]} x")


if __name__ == "__main__":
    main()
