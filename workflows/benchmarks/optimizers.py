"""SOAP beside Adam: one student from nothing on the same frames, each at several rates, so that each is at its best.

    python workflows/benchmarks/optimizers.py [-o runs/optimizers] [--epochs 14]

300 frames of the shipped labels of bulk NZSP, 32x0e, max_ell 1, correlation 2. On validation systems: the loss, which
both are to make small, and the force RMSE, which a few frames with large forces decide. Some half a minute a training
on one core; what is done is not done again.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import read_frames, write_frames
from atomflow.distill.train import train

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
    n_atoms = sum(frames[k].n_atoms for k in chosen)
    print(f"300 frames, {n_atoms} atoms, {asked.epochs} passes: validation loss, force RMSE in meV/Å")
    for optimizer, rates in RATES.items():
        for rate in rates:
            loss, error = last_errors(few, optimizer, rate, asked)
            print(f"{optimizer} at {rate:<5g} {loss:.5f} {error:.0f}", flush=True)


def last_errors(few: Path, optimizer: str, rate: float, asked: argparse.Namespace) -> tuple[float, float]:
    """Validation loss and force RMSE (meV/Å) after the last pass."""
    folder = asked.out / f"{optimizer}-{rate:g}-{asked.epochs}"
    config = StudentConfig(
        name="beside", labelled=(str(few),), channels=32, max_ell=1, correlation=2, epochs=asked.epochs,
        optimizer=optimizer, learning_rate=rate, learning_rate_decay=0.9, validation_fraction=0.2, trained_for="a race",
    )  # fmt: skip
    train(config, folder)
    log = (folder / "train.log").read_text()
    found = re.findall(rf"Epoch {asked.epochs - 1}: .*loss=([\d.]+), .*RMSE_F= *([\d.]+)", log)
    return float(found[-1][0]), float(found[-1][1])


if __name__ == "__main__":
    main()
