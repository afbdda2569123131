"""Partial radial distribution functions.

    g_AB(r) = ⟨pairs in the shell⟩ / (N_A ρ_B 4π/3 (r₂³ − r₁³)),   ρ_B = N_B/V

so g → 1 far away (1 − 1/N_A for A = B, as an atom is not its own neighbour). ``running`` is the mean number of B
within r of an A. Pairs are counted by a k-d tree over explicit images: no minimum image, any cell, any r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.spatial

from atomflow.blocks import block_means
from atomflow.errors import InputError
from atomflow.order.frames import Source
from atomflow.order.neighbours import images


@dataclass(frozen=True)
class Rdf:
    """g(r) of one pair of elements, averaged over frames and replicas.

    Attributes:
        pair: ``B-O``: O around B.
        r_A: (n,) middle of each shell. g: (n,). error: (n,) standard error over replicas, or blocks of one run; NaN
            where one frame is all there is.
        running: (n,) mean number of partners within the outer edge of the shell.
        peak_A: where the first peak is (parabola through its three points). minimum_A: where the valley after it is.
    """

    pair: str
    r_A: np.ndarray
    g: np.ndarray
    error: np.ndarray
    running: np.ndarray
    peak_A: float | None
    minimum_A: float | None

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def parse_pair(text: str, known: set[str]) -> tuple[str, str]:
    """``B-O`` → ``("B", "O")``.

    Raises:
        InputError: not two elements of the cell joined by a dash.
    """
    parts = text.strip().split("-")
    if len(parts) != 2 or not all(parts):
        raise InputError(f"'{text}' is not a pair of elements; write it like B-O")
    for part in parts:
        if part not in known:
            raise InputError(f"there is no {part} here for the pair {text}, only {', '.join(sorted(known))}")
    return parts[0], parts[1]


def radial_distribution(
    sources: Sequence[Source], pair: str, r_max_A: float = 8.0, bin_A: float = 0.05, region: str | None = None
) -> Rdf:
    """g(r) of ``pair`` up to ``r_max_A``; with ``region`` only its atoms are centres (partners are all).

    Raises:
        InputError: elements or region that are not there, a range or bin that makes no sense.
    """
    if not 0 < bin_A < r_max_A:
        raise InputError(f"the bin ({bin_A:g} Å) must be positive and smaller than the range ({r_max_A:g} Å)")
    edges = np.arange(0.0, r_max_A + 0.5 * bin_A, bin_A)
    shell = 4.0 * np.pi / 3.0 * np.diff(edges**3)
    curves, counts = [], []
    for source in sources:
        a, b = parse_pair(pair, set(source.symbols.tolist()))
        centres = centre_mask(source, a, region)
        partners = source.symbols == b
        per_frame = np.array([_count(p, box, centres, partners, edges) for p, box in source.frames()])
        volumes = np.array([abs(np.linalg.det(box)) for _, box in source.frames()])
        curves.append(per_frame * volumes[:, None] / (partners.sum() * shell))
        counts.append(per_frame.mean(axis=0))
    g = np.mean([curve.mean(axis=0) for curve in curves], axis=0)
    samples = np.array([c.mean(axis=0) for c in curves]) if len(curves) > 1 else block_means(curves[0])
    error = np.full(len(g), np.nan)
    if len(samples) > 1:
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    middle = 0.5 * (edges[1:] + edges[:-1])
    peak, valley = _first_peak(middle, g)
    return Rdf(pair, middle, g, error, np.cumsum(np.mean(counts, axis=0)), peak, valley)


def centre_mask(source: Source, element: str, region: str | None) -> np.ndarray:
    """(N,) which atoms are centres."""
    mask = source.symbols == element
    if region is not None:
        if region not in set(source.regions.tolist()):
            raise InputError(f"{source.name}: there is no region {region}, only "
                             f"{', '.join(sorted(set(source.regions.tolist())))}")
        mask = mask & (source.regions == region)
    if not mask.any():
        raise InputError(f"{source.name}: there is no {element} in region {region}")
    return mask


def _count(
    positions_A: np.ndarray, lattice_A: np.ndarray, centres: np.ndarray, partners: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """(bins,) mean number of partners of a centre in each shell."""
    points, owner = images(positions_A, lattice_A, float(edges[-1]))
    tree = scipy.spatial.cKDTree(points[: len(positions_A)][centres])
    others = scipy.spatial.cKDTree(points[partners[owner]])
    counts = tree.count_neighbors(others, edges, cumulative=False).astype(np.float64)
    counts[0] = 0.0  # within the first edge, r = 0: an atom and itself
    return counts[1:] / centres.sum()


def _first_peak(r: np.ndarray, g: np.ndarray) -> tuple[float | None, float | None]:
    """Place of the first peak and of the valley behind it; None where g has no peak above 1."""
    smooth = np.convolve(np.pad(g, 2, mode="edge"), np.ones(3) / 3.0, mode="same")[2:-2]
    above = np.flatnonzero(smooth > 1.0)
    if len(above) == 0 or g.max() < 1.5:
        return None, None
    start = int(above[0])
    below = np.flatnonzero(smooth[start:] < 1.0)
    end = start + int(below[0]) if len(below) else len(g)
    top = start + int(np.argmax(g[start:end]))
    peak = float(r[top])
    if 0 < top < len(g) - 1:
        left, mid, right = g[top - 1], g[top], g[top + 1]
        curvature = left - 2 * mid + right
        if curvature < 0:
            peak += float(0.5 * (left - right) / curvature * (r[1] - r[0]))
    behind = smooth[end:]
    again = np.flatnonzero(behind > 1.0)
    stop = end + int(again[0]) if len(again) else len(g)
    if stop <= end:
        return peak, None
    flat = np.flatnonzero(smooth[end:stop] <= smooth[end:stop].min() + 1e-12)
    return peak, float(r[end + flat].mean())
