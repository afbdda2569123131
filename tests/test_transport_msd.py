import numpy as np
import pytest

from atomflow.transport.msd import msd_direct, msd_sum, msd_tensor_sum, relative_variance


@pytest.mark.parametrize("frames", [20, 101, 256, 1000])
def test_fft_msd_is_the_direct_msd(frames):
    rng = np.random.default_rng(frames)
    columns = rng.normal(size=(12, frames)).cumsum(axis=1) + 1000.0
    lags = np.unique(np.geomspace(1, frames - 1, 20).astype(int))
    np.testing.assert_allclose(msd_sum([columns], frames)[lags], msd_direct(columns, lags), rtol=1e-10, atol=0)


def test_blocks_add_up_and_are_not_changed():
    columns = np.random.default_rng(1).normal(size=(30, 200)).cumsum(axis=1)
    before = columns.copy()
    pieces = msd_sum([columns[:7], columns[7:8], columns[8:]], 200)
    np.testing.assert_allclose(pieces, msd_sum([columns], 200), rtol=1e-11, atol=0)
    assert np.array_equal(columns, before)


def test_the_tensor_has_the_msd_as_trace_and_the_planted_correlation():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 40, 300)).cumsum(axis=2)
    columns = np.stack([x, 0.5 * x + y, 0.0 * x], axis=1).reshape(120, 300)
    tensor = msd_tensor_sum([columns], 300)
    np.testing.assert_allclose(np.trace(tensor), msd_sum([columns], 300), rtol=1e-10, atol=1e-12)
    assert tensor[0, 1, 1] == pytest.approx(0.5 * tensor[0, 0, 1], rel=0.05)
    np.testing.assert_allclose(tensor[0, 1], tensor[1, 0], rtol=0, atol=1e-9)


def test_ballistic_and_diffusive_by_hand():
    straight = np.arange(50.0)[None, :] * 2.0
    np.testing.assert_allclose(msd_sum([straight], 50), (2.0 * np.arange(50)) ** 2, rtol=1e-10, atol=0)


def test_the_variance_of_overlapping_windows():
    """Against 4000 simulated Brownian paths in three dimensions."""
    rng = np.random.default_rng(3)
    frames, paths = 40, 4000
    columns = rng.normal(size=(paths, 3, frames)).cumsum(axis=2)
    lags = np.array([1, 5, 15, 30, 39])
    values = np.array([[msd_direct(path, [lag])[0] for lag in lags] for path in columns])
    measured = values.var(axis=0) / values.mean(axis=0) ** 2
    np.testing.assert_allclose(relative_variance(frames, 3)[lags], measured, rtol=0.12, atol=0)
