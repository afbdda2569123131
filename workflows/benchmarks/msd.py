"""MSD and diffusivity against MDAnalysis, pymatgen-analysis-diffusion and kinisi: speed, peak memory, agreement.

    python workflows/benchmarks/msd.py                     # 20,000 frames × 1,000 ions
    python workflows/benchmarks/msd.py --frames 2000 --ions 100
    python workflows/benchmarks/msd.py --peer-python /path/to/venv/bin/python    # where the peers are installed

Every program runs in a process of its own, on one thread, on the same random walk (float32 values, so that all see the
same numbers), and is timed from positions in a memory-mapped file to the MSD. Memory is the most that the process ever
held, less what it held before it began (the file's pages are in it). kinisi goes through lags one by one: it is given a
few lags and its time for all of them is what that makes in proportion, said as such.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402  (threads are set first)

FRAMEWORK = 8
INTERVAL_FS = 20.0
KINISI_LAGS = 10
PACKAGES = {"atomflow": "atomflow", "MDAnalysis": "MDAnalysis", "pymatgen-analysis-diffusion":
            "pymatgen.analysis.diffusion", "kinisi": "kinisi"}


def make_walk(path: Path, frames: int, ions: int) -> None:
    """(F, ions + 8, 3) float32: Brownian ions and a still framework; written in pieces."""
    rng = np.random.default_rng(1)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(frames, ions + FRAMEWORK, 3))
    now = np.zeros((ions, 3))
    for start in range(0, frames, 500):
        steps = rng.normal(scale=0.1, size=(min(500, frames - start), ions, 3))
        out[start : start + len(steps), :ions] = now + np.cumsum(steps, axis=0)
        now += steps.sum(axis=0)
        out[start : start + len(steps), ions:] = np.arange(FRAMEWORK * 3).reshape(FRAMEWORK, 3)
    out.flush()


def lags_of(frames: int) -> np.ndarray:
    """The lags at which programs are compared."""
    return np.unique(np.geomspace(1, frames // 2, KINISI_LAGS).astype(int))


def run_atomflow(positions: np.ndarray, memory_MB: float) -> tuple[np.ndarray, str]:
    from atomflow.transport.displacement import Displacements
    from atomflow.transport.measure import measure

    n = positions.shape[1]
    lattice = np.diag([30.0, 30.0, 30.0])

    def read(start: int, stop: int, atoms: np.ndarray | None = None) -> np.ndarray:
        if atoms is None:
            return np.asarray(positions[start:stop], dtype=np.float64)
        return np.asarray(positions[start:stop, int(atoms[0]) : int(atoms[-1]) + 1], dtype=np.float64)

    trajectory = SimpleNamespace(
        symbols=np.array(["Na"] * (n - FRAMEWORK) + ["Zr"] * FRAMEWORK), n_frames=len(positions), n_atoms=n,
        frame_interval_fs=INTERVAL_FS, mean_lattice_A=lattice, source="benchmark",
        positions_A=read, lattices_A=lambda a, b: np.broadcast_to(lattice, (b - a, 3, 3)))
    return measure([Displacements(trajectory, memory_MB=memory_MB)]).msd_A2, "all lags, drift-corrected, charge MSD"


def run_mdanalysis(positions: np.ndarray, memory_MB: float) -> tuple[np.ndarray, str]:
    import MDAnalysis
    from MDAnalysis.analysis.msd import EinsteinMSD
    from MDAnalysis.coordinates.memory import MemoryReader

    n = positions.shape[1]
    universe = MDAnalysis.Universe.empty(n, trajectory=True)
    universe.add_TopologyAttr("name", ["NA"] * (n - FRAMEWORK) + ["ZR"] * FRAMEWORK)
    universe.load_new(np.asarray(positions), format=MemoryReader, dt=INTERVAL_FS / 1000)
    found = EinsteinMSD(universe, select="name NA", msd_type="xyz", fft=True).run()
    return np.asarray(found.results.timeseries), "all lags, EinsteinMSD(fft=True)"


def run_pymatgen(positions: np.ndarray, memory_MB: float) -> tuple[np.ndarray, str]:
    from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer
    from pymatgen.core import Lattice, Structure

    n = positions.shape[1]
    structure = Structure(Lattice.cubic(30.0), ["Na"] * (n - FRAMEWORK) + ["Zr"] * FRAMEWORK, np.zeros((n, 3)))
    displacements = np.ascontiguousarray((positions - positions[:1]).astype(np.float64).transpose(1, 0, 2))
    found = DiffusionAnalyzer(structure, displacements, "Na", 600, time_step=int(INTERVAL_FS), step_skip=1)
    msd = np.full(len(positions), np.nan)
    msd[np.round(found.dt / INTERVAL_FS).astype(int)] = found.msd
    return msd, "200 of all lags by FFT, DiffusionAnalyzer(smoothed='max')"


def run_kinisi(positions: np.ndarray, memory_MB: float) -> tuple[np.ndarray, str]:
    import scipp as sc
    from kinisi.displacement import calculate_msd

    lags = lags_of(len(positions))
    moved = np.asarray(positions[1:, :-FRAMEWORK] - positions[:1, :-FRAMEWORK], dtype=np.float64)
    parser: Any = SimpleNamespace(
        displacements=sc.array(dims=["obs", "particle", "dimension"], values=moved, unit="angstrom"),
        dt_index=sc.array(dims=["time interval"], values=lags),
        dt=sc.array(dims=["time interval"], values=lags * INTERVAL_FS / 1000, unit="ps"),
        dimensionality=3 * sc.units.dimensionless)
    found = calculate_msd(parser, progress=False)
    msd = np.full(len(positions), np.nan)
    msd[lags[: len(found["da"].values)]] = found["da"].values
    return msd, f"{len(lags)} lags"


RUNNERS = {"atomflow": run_atomflow, "MDAnalysis": run_mdanalysis, "pymatgen-analysis-diffusion": run_pymatgen,
           "kinisi": run_kinisi}


def work(name: str, path: str, memory_MB: float) -> None:
    """In the process of one program: time it and write the result beside the data."""
    try:
        missing = importlib.util.find_spec(PACKAGES[name]) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        print(json.dumps({"missing": True}))
        return
    warm = np.random.default_rng(0).normal(size=(2200, 5 + FRAMEWORK, 3)).cumsum(axis=0).astype(np.float32)
    warm[:, 5:] = 0.0
    RUNNERS[name](warm, memory_MB)  # imports and plans are not timed
    positions = np.load(path, mmap_mode="r")
    for start in range(0, len(positions), 500):  # the file is in the page cache for everybody
        positions[start : start + 500].sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    msd, note = RUNNERS[name](positions, memory_MB)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(f"{path}.{name}.npy", msd)
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "extra_MB": (peak - before) / 1024, "note": note}))


def call(python: str, name: str, path: Path, memory_MB: float, limit_s: float) -> dict[str, Any]:
    command = [python, __file__, "--worker", name, "--data", str(path), "--memory-mb", str(memory_MB)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"timeout": limit_s}
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"code {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def report(results: dict[str, dict[str, Any]], path: Path, frames: int) -> bool:
    """Print the table; True if the goal (5× the fastest peer, agreement 1e-6) is met."""
    ours = np.load(f"{path}.atomflow.npy")
    mine = results["atomflow"]
    print(f"{'program':<30}{'CPU s':>9}{'wall s':>9}{'memory MB':>11}{'ratio':>8}  agreement")
    ratios, agreements = [], []
    for name, one in results.items():
        if "cpu_s" not in one:
            why = "not installed" if one.get("missing") else (
                f"not done in {one['timeout']:.0f} s" if "timeout" in one else f"failed: {one['failed']}")
            print(f"{name:<30}{why}")
            continue
        note, ratio = one["note"], one["cpu_s"] / mine["cpu_s"]
        agreement = ""
        if name != "atomflow":
            theirs = np.load(f"{path}.{name}.npy")
            both = np.flatnonzero(np.isfinite(theirs[1:]) & (theirs[1:] > 0)) + 1
            difference = float(np.abs(theirs[both] / ours[both] - 1).max())
            agreement = f"{difference:.1e} over {len(both)} lags"
            agreements.append(difference)
            if name == "kinisi":
                ratio *= (frames - 1) / len(lags_of(frames))
                note += "; ratio in proportion for all lags"
            ratios.append(ratio)
        print(f"{name:<30}{one['cpu_s']:>9.2f}{one['wall_s']:>9.2f}{one['extra_MB']:>11.0f}{ratio:>8.1f}  {agreement}"
              f"  ({note})")
    if not ratios:
        print("no peer to compare with: pip install MDAnalysis tidynamics pymatgen-analysis-diffusion kinisi")
        return False
    good = min(ratios) >= 5 and max(agreements) <= 1e-6
    print(f"fastest peer / atomflow = {min(ratios):.1f} (goal 5); largest difference {max(agreements):.1e} "
          f"(goal 1e-6): {'met' if good else 'not met'}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--ions", type=int, default=1_000)
    parser.add_argument("--memory-mb", type=float, default=500.0)
    parser.add_argument("--limit-s", type=float, default=300.0, help="time for each program")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--worker", choices=list(RUNNERS), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.data, given.memory_mb)
        return
    print(f"{given.frames} frames x {given.ions} ions, one thread, one process each; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "walk.npy"
        make_walk(path, given.frames, given.ions)
        results = {name: call(sys.executable if name == "atomflow" else given.peer_python, name, path,
                              given.memory_mb, given.limit_s) for name in RUNNERS}
        if "cpu_s" not in results["atomflow"]:
            sys.exit(f"atomflow did not finish: {results['atomflow']}")
        sys.exit(0 if report(results, path, given.frames) else 1)


if __name__ == "__main__":
    main()
