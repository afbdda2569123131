"""SOAP beside Adam: one student from nothing on the same frames, each at several rates, so that each is at its best.

    python workflows/benchmarks/optimizers.py [-o runs/optimizers] [--epochs 14]

300 frames of the shipped labels of bulk NZSP, 32x0e, max_ell 1, correlation 2; force RMSE on validation systems. Some
half a minute a training on one core; what is done is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import read_frames, write_frames
from atomflow.distill.train import TrainProgress, train

LABELLED = Path("workflows/potential/labelled/nzsp-0.npz")
RATES = {"adam": (0.01, 0.02, 0.04, 0.08), "soap": (0.01, 0.02, 0.04, 0.08)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/optimizers"))
    parser.add_argument("--epochs", type=int, default=14)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    frames = [frame for frame in read_frames(LABELLED) if frame.family == "nzsp" and frame.split == "train"]
    chosen = np.random.default_rng(0).permutation(len(frames))[:300]
    few = write_frames([frames[k] for k in chosen], asked.out / "frames.npz", {"from": str(LABELLED)})
    print(f"300 frames, {sum(frames[k].n_atoms for k in chosen)} atoms; force RMSE on validation systems, meV/Å")
    for optimizer, rates in RATES.items():
        for rate in rates:
            error = last_error(few, optimizer, rate, asked)
            print(f"{optimizer} at {rate:<5g} after {asked.epochs} passes: {error:.0f}", flush=True)


def last_error(few: Path, optimizer: str, rate: float, asked: argparse.Namespace) -> float:
    """meV/Å after the last pass; kept in a file."""
    folder = asked.out / f"{optimizer}-{rate:g}-{asked.epochs}"
    kept = folder / "force_rmse_meV_per_A"
    if not kept.exists():
        config = StudentConfig(
            name="beside", labelled=(str(few),), channels=32, max_ell=1, correlation=2, epochs=asked.epochs,
            optimizer=optimizer, learning_rate=rate, learning_rate_decay=0.9, validation_fraction=0.2,
            trained_for="a race",
        )  # fmt: skip
        seen: list[TrainProgress] = []
        train(config, folder, seen.append)
        kept.write_text(f"{seen[-1].force_meV_per_A}\n")
    return float(kept.read_text())


if __name__ == "__main__":
    main()
