"""Mean squared displacement at all lags, by the Wiener–Khinchin theorem.

For one coordinate x of F frames,

    MSD(m) = 1/(F − m) Σ_t [x(t + m) − x(t)]² = [S1(m) − 2 S2(m)] / (F − m)

with S2 the autocorrelation, from a zero-padded FFT, and S1 a cumulative sum of squares (Calandrini, Pellegrini,
Calligari, Hinsen & Kneller, Collection SFN 12 (2011) 201). Only the mean over ions is wanted, so power spectra are
summed over ions and directions first and transformed back once: half the work of one MSD per ion, and the
memory is one batch, not the trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.fft

#: Columns transformed together: the batch stays in the processor's cache.
_BATCH = 4


def msd_sum(columns: Iterable[np.ndarray], n_frames: int, workers: int = 1) -> np.ndarray:
    """(F,) time-averaged squared displacement at each lag, summed over all columns.

    Args:
        columns: blocks (c, F) of coordinates, any number of them; each is read once and not changed.
        n_frames: F.
        workers: threads of the transforms.
    """
    size = scipy.fft.next_fast_len(2 * n_frames - 1, real=True)
    spectrum = np.zeros(2 * (size // 2 + 1))
    squares = np.zeros(n_frames)
    for block in columns:
        for first in range(0, len(block), _BATCH):
            batch = block[first : first + _BATCH]
            batch = batch - batch.mean(axis=1, keepdims=True)  # the MSD does not see a shift; rounding does
            squares += np.einsum("cf,cf->f", batch, batch)
            parts = scipy.fft.rfft(batch, n=size, axis=1, workers=workers).view(np.float64)
            spectrum += np.einsum("ck,ck->k", parts, parts)
    return _from_sums(spectrum[0::2] + spectrum[1::2], squares, size)


def msd_tensor_sum(columns: Iterable[np.ndarray], n_frames: int, workers: int = 1) -> np.ndarray:
    """(3, 3, F) as :func:`msd_sum` by direction: ⟨Δx_a Δx_b⟩ summed over ions; blocks are (3·n, F)."""
    size = scipy.fft.next_fast_len(2 * n_frames - 1, real=True)
    spectrum = np.zeros((3, 3, size // 2 + 1))
    squares = np.zeros((3, 3, n_frames))
    for block in columns:
        for first in range(0, len(block), 3):
            ion = block[first : first + 3]
            ion = ion - ion.mean(axis=1, keepdims=True)
            squares += np.einsum("af,bf->abf", ion, ion)
            parts = scipy.fft.rfft(ion, n=size, axis=1, workers=workers)
            spectrum += np.einsum("ak,bk->abk", parts, parts.conj()).real
    tensor = np.empty((3, 3, n_frames))
    for a in range(3):
        for b in range(3):
            tensor[a, b] = _from_sums(spectrum[a, b], squares[a, b], size)
    return tensor


def msd_direct(columns: np.ndarray, lags: Iterable[int]) -> np.ndarray:
    """(len(lags),) the same sum by its definition: the oracle of the tests, O(F) for each lag."""
    result = []
    for lag in lags:
        moved = columns[:, lag:] - columns[:, : columns.shape[1] - lag]
        result.append(float((moved**2).sum() / moved.shape[1]))
    return np.array(result)


def _from_sums(power: np.ndarray, squares: np.ndarray, size: int) -> np.ndarray:
    n = len(squares)
    correlation = scipy.fft.irfft(power, n=size)[:n]
    cumulative = np.concatenate([[0.0], np.cumsum(squares)])
    lags = np.arange(n)
    pairs = cumulative[n - lags] + cumulative[n] - cumulative[lags]
    msd = (pairs - 2.0 * correlation) / (n - lags)
    msd[0] = 0.0
    return msd


def relative_variance(n_frames: int, n_dimensions: float) -> np.ndarray:
    """(F,) relative variance of the time-averaged MSD of one Brownian path, at each lag (lag 0: zero).

    Overlapping windows are counted as correlated (Qian, Sheetz & Elson, Biophys. J. 60 (1991) 910, eqs 13-14,
    there for two dimensions; the variance goes as 1/dimensions).
    """
    n = np.arange(1, n_frames, dtype=np.float64)
    k = n_frames - n
    many = (4 * n**2 * k + 2 * k + n - n**3) / (6 * n * k**2)
    few = 1 + (k**3 - 4 * n * k**2 + 4 * n - k) / (6 * n**2 * k)
    two_dimensions = np.where(n <= k, many, few)
    return np.concatenate([[0.0], two_dimensions * 2.0 / n_dimensions])
