"""Walks in three regions of known, different diffusivity, with walls, partition and drifting frameworks."""

from __future__ import annotations

import numpy as np
from transport_walks import MemoryTrajectory

NAMES = ("grain_a", "glass", "grain_b")
WIDTH_A = 14.0
STEP_A = 0.5
DT_PS = 0.05
#: A skew cell whose planes a × b are the boundaries.
LATTICE = np.array([[11.0, 0.0, 0.0], [3.0, 9.0, 0.0], [2.0, -1.5, 3 * WIDTH_A]])


def three_regions(
    rng, d_A2_per_ps=(1.0, 0.1, 0.4), frames=1500, ions=30, partition=1.0, walls=False, drift_A_per_ps=(0.0, 0.0, 0.0),
    runs=1, vibration_A=0.0,
):
    """``runs`` trajectories of Na that hop on planes STEP_A apart and diffuse freely in them.

    ``partition``: density in the middle region over that outside. ``walls``: no ion crosses. ``drift_A_per_ps``: of
    each region's framework (with the ions in it) along x. Rates obey detailed balance at the edges.
    """
    per = round(WIDTH_A / STEP_A)
    planes = 3 * per
    owner = np.arange(planes) // per
    rate = np.array(d_A2_per_ps)[owner] * DT_PS / STEP_A**2
    weight = np.where(owner == 1, partition, 1.0)
    up = _bond(rate, np.roll(rate, -1), weight, np.roll(weight, -1), owner != np.roll(owner, -1), walls)
    down = _bond(rate, np.roll(rate, 1), weight, np.roll(weight, 1), owner != np.roll(owner, 1), walls)
    total = runs * ions
    plane = rng.choice(planes, size=total, p=weight / weight.sum())
    height = (plane + 0.5) * STEP_A
    flat = rng.uniform(-20, 20, (total, 2))
    sigma = np.sqrt(2 * np.array(d_A2_per_ps) * DT_PS)
    speed = np.array(drift_A_per_ps)
    path = np.empty((frames, total, 3))
    for frame in range(frames):
        path[frame, :, :2] = flat
        path[frame, :, 2] = height
        where = owner[plane]
        flat = flat + rng.normal(size=(total, 2)) * sigma[where][:, None]
        flat[:, 0] += speed[where] * DT_PS
        draw = rng.random(total)
        hop = np.where(draw < up[plane], 1, np.where(draw < up[plane] + down[plane], -1, 0))
        plane, height = (plane + hop) % planes, height + hop * STEP_A
    path += rng.normal(scale=vibration_A, size=path.shape) if vibration_A else 0.0
    return [_trajectory(path[:, r * ions : (r + 1) * ions], speed, rng) for r in range(runs)]


def _bond(here, there, weight, other, border, walls):
    """Probability of the hop from here to there in one step."""
    mean = 2.0 * here * there / (here + there)
    hop = np.where(border, mean * np.sqrt(other / weight), here)
    return np.where(border & walls, 0.0, hop)


def _trajectory(path, speed, rng):
    frames = len(path)
    spread = (np.arange(28) + 0.5) / 28
    framework, regions = [], []
    for index, name in enumerate(NAMES):
        home = np.concatenate([rng.uniform(0, 9, (28, 2)), ((index + spread) * WIDTH_A)[:, None]], axis=1)
        moved = np.repeat(home[None], frames, axis=0)
        moved[..., 0] += (speed[index] * DT_PS * np.arange(frames))[:, None]
        framework.append(moved)
        regions += [name] * 28
    everything = np.concatenate([path, *framework], axis=1)
    labels = [NAMES[int(z // WIDTH_A) % 3] for z in path[0, :, 2]] + regions
    found = MemoryTrajectory(everything, ["Na"] * path.shape[1] + ["Zr"] * 84, lattice=LATTICE,
                             frame_interval_fs=DT_PS * 1000, cell_summary={})
    found.regions = np.array(labels)
    return found
