"""Seeds that are pooled are held against one another: alike they change nothing, unlike they widen the interval."""

import json

import numpy as np
import pytest
from transport_walks import cage, gaussian_walk, lattice_hops, with_framework

from atomflow import transport
from atomflow.transport.displacement import Displacements
from atomflow.transport.measure import measure
from atomflow.transport.seeds import agreement
from atomflow.transport.window import choose


def walks(rng, diffusivities, frames=200, ions=12):
    """Seeds of 20 ps, each with its own D in Å²/ps."""
    return [with_framework(gaussian_walk(rng, frames, ions, d, 0.1), rng) for d in diffusivities]


def compared(trajectories):
    window = choose(measure([Displacements(item, "Na", 0.0, "auto", 50.0) for item in trajectories], 1), 3.5)
    return agreement(window.steps, window.together)


@pytest.mark.parametrize("seeds", [2, 4])
def test_of_one_walk_they_scatter_as_their_errors_say(seeds):
    """χ²/ν of 80 sets is one on average; of one set in twenty the p-value is below 0.05."""
    found = [compared(walks(np.random.default_rng([seeds, trial]), [0.3] * seeds)) for trial in range(80)]
    assert {each.dof for each in found} == {seeds - 1}
    mean = np.mean([each.chi2 / each.dof for each in found])
    assert abs(mean - 1) < 3 * np.sqrt(2 / (80 * (seeds - 1)))
    assert 0 <= sum(each.warning is not None for each in found) <= 11  # binomial, 99.9 %


def test_hopping_ions_scatter_as_their_errors_say():
    def hopping(rng):
        return with_framework(lattice_hops(rng, 200, 12, 0.1, 0.1) + cage(rng, 200, 12, 0.3, 2), rng)

    found = [compared([hopping(rng) for _ in range(3)]) for rng in map(np.random.default_rng, range(60))]
    assert 0.6 < np.mean([each.chi2 / 2 for each in found]) < 1.4


def test_seeds_that_disagree_are_named_and_widen_the_interval_by_as_much():
    rng = np.random.default_rng(5)
    trajectories = walks(rng, [0.1, 0.1, 0.5])
    result = transport.analyze(trajectories)
    found = compared(trajectories)
    (warning,) = [text for text in result.warnings if "disagree" in text]
    assert "for 2 degrees of freedom" in warning
    assert warning == found.warning
    np.testing.assert_allclose(found.diffusivities_cm2_per_s, [1e-5, 1e-5, 5e-5], rtol=0.6)
    assert result.seeds == found
    assert json.loads(json.dumps(result.to_json()["seeds"]))["dof"] == 2
    assert f"tracer of each seed, cm²/s    {found.text()}" in result.text()
    assert result.ln_tracer[1] >= 0.98 * found.ln_error
    assert result.ln_charge[1] > result.ln_tracer[1]  # what the seeds disagree by is in both, and more is in this one
    alone = [transport.analyze(each).ln_tracer[1] for each in trajectories]
    assert found.ln_error > 2 * np.sum(np.array(alone) ** -2.0) ** -0.5


def test_one_seed_is_compared_with_nothing():
    result = transport.analyze(walks(np.random.default_rng(7), [0.3]))
    assert result.to_json()["seeds"] is None
    assert not any("disagree" in text for text in result.warnings)
    assert compared(walks(np.random.default_rng(7), [0.3])).p_value == 1


@pytest.mark.slow
@pytest.mark.parametrize(("between", "seeds", "least", "most"), [(0.0, 2, 0.93, 1.0), (0.0, 4, 0.93, 0.99),
                                                                 (0.5, 4, 0.80, 0.97)])
def test_the_interval_covers_the_mean_of_seeds_that_differ(between, seeds, least, most):
    """300 sets; ln D of each seed is normal with a standard deviation ``between`` about that of 0.3 Å²/ps."""
    hits = 0
    for trial in range(300):
        rng = np.random.default_rng([seeds, 99, trial])
        each = 0.3 * np.exp(between * rng.standard_normal(seeds) - between**2 / 2)
        found = transport.analyze(walks(rng, each)).tracer_diffusivity_cm2_per_s
        hits += found.low <= 0.3e-4 <= found.high
    assert least <= hits / 300 <= most
