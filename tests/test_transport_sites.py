import json

import numpy as np
import pytest
from transport_walks import MONOCLINIC, cage, gaussian_walk, with_framework

from atomflow import transport
from atomflow.errors import InputError
from atomflow.plain import to_jsonable
from atomflow.transport.sites import site_statistics
from atomflow.transport.van_hove import van_hove_self

NAMES = ["Na1", "Na2", "Na2", "Na3"]
FRACTIONAL = np.array([[0.05, 0.0, 0.0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.6], [0.95, 0.5, 0.9]])


def on_sites(path_of, frames, drift=None, noise=0.1, seed=1):
    """Ions that sit where ``path_of`` (F, n; site index) says, in a monoclinic cell, one lattice vector away."""
    rng = np.random.default_rng(seed)
    ions = (FRACTIONAL[path_of] + [1, -1, 0]) @ MONOCLINIC + cage(rng, frames, path_of.shape[1], noise, 1)
    sites = {"na_sites": {"names": NAMES, "fractional": FRACTIONAL.tolist()}}
    return with_framework(ions, rng, drift=drift, cell_summary={"provenance": sites})


def test_occupancies_hops_and_residence_by_hand():
    """One ion: 100 frames on Na1, 50 on the first Na2, 50 on Na3; the other never leaves the second Na2."""
    path = np.full((200, 2), 2)
    path[:, 0] = [0] * 100 + [1] * 50 + [3] * 50
    drift = np.outer(np.arange(200), [0.0, 0.1, 0.0])
    found = site_statistics(on_sites(path, 200, drift))
    assert np.array_equal(found.site_of, path)
    assert found.occupancy == pytest.approx({"Na1": 0.5, "Na2": (50 / 200 + 1.0) / 2, "Na3": 0.25})
    assert found.hops == {("Na1", "Na2"): 1, ("Na2", "Na3"): 1}
    assert found.mean_residence_ps == {"Na1": None, "Na2": pytest.approx(5.0), "Na3": None}
    assert found.hop_rate_per_ion_per_ps == pytest.approx(2 / (2 * 19.9))
    json.dumps(to_jsonable(found), allow_nan=False)
    assert "2 hops" in found.text()


def test_recrossings_are_not_hops():
    """Visits of one frame (0.1 ps) under a criterion of 0.5 ps."""
    path = np.zeros((300, 1), dtype=int)
    path[50::40] = 1
    path[200:] = 3
    found = site_statistics(on_sites(path, 300), residence_ps=0.5)
    assert found.hops == {("Na1", "Na3"): 1}
    assert found.recrossings == 4
    assert site_statistics(on_sites(path, 300), residence_ps=0.1).hops["Na1", "Na2"] == 4


def test_the_nearest_site_may_be_a_periodic_image():
    """An ion 0.04 b below the face belongs to the site at 0, not to one inside."""
    ion = np.broadcast_to(np.array([[0.05, 0.96, 0.98]]) @ MONOCLINIC, (30, 1, 3))
    trajectory = with_framework(np.array(ion), np.random.default_rng(0),
                                cell_summary={"provenance": {"na_sites": {"names": NAMES,
                                                                          "fractional": FRACTIONAL.tolist()}}})
    assert site_statistics(trajectory).occupancy["Na1"] == 1.0


def test_a_cell_without_named_sites_says_so():
    rng = np.random.default_rng(2)
    with pytest.raises(InputError, match="names no sites"):
        site_statistics(with_framework(cage(rng, 50, 3, 0.1, 1), rng))


def test_van_hove_of_a_gaussian_walk():
    """r² = 6Dt, α₂ = 0, and the density integrates to one."""
    rng = np.random.default_rng(3)
    trajectory = with_framework(gaussian_walk(rng, 500, 40, 0.1, 0.1), rng)
    found = van_hove_self(trajectory, lags_ps=[1.0, 5.0], r_max_A=15.0)
    np.testing.assert_allclose(found.mean_square_A2, [0.6, 3.0], rtol=0.12, atol=0)
    np.testing.assert_allclose(found.non_gaussian, 0.0, rtol=0, atol=0.15)
    width = found.r_A[1] - found.r_A[0]
    np.testing.assert_allclose(found.density_per_A.sum(axis=1) * width + found.beyond, 1.0, rtol=1e-12, atol=0)
    msd = transport.analyze(trajectory).msd
    np.testing.assert_allclose(found.mean_square_A2[0], msd["msd_A2"][list(msd["lag_ps"]).index(1.0)], rtol=1e-9)


def test_van_hove_of_one_hop_has_a_second_peak():
    path = np.zeros((200, 1), dtype=int)
    path[100:] = 1
    found = van_hove_self(on_sites(path, 200, noise=0.05), lags_ps=[10.0])
    jump = np.linalg.norm((FRACTIONAL[1] - FRACTIONAL[0]) @ MONOCLINIC)
    assert found.r_A[found.density_per_A[0].argmax()] == pytest.approx(jump, abs=0.3)
    with pytest.raises(InputError, match="lags must lie"):
        van_hove_self(on_sites(path, 200), lags_ps=[100.0])
