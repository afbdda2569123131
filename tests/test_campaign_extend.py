"""Extending a campaign to a stated error: the allocation by itself, and the whole loop on random walks of known Ea."""

import json
import math

import numpy as np
import pytest
import yaml
from transport_walks import lattice_hops

from atomflow import campaign, runs
from atomflow.campaign import driver
from atomflow.campaign.allocation import Arm, energy_variance, gain_per_hour, misfits, spend
from atomflow.campaign.estimates import estimates
from atomflow.campaign.extension import extend
from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run as command
from atomflow.errors import InputError, RunFailed
from atomflow.units import BOLTZMANN_EV_PER_K

TEMPERATURES = (600.0, 700.0, 850.0, 1000.0)
#: planted hours of a run: the cold is cheap, the hot dear, and there is an expensive one in the middle
HOURS = {600.0: 1.0, 700.0: 1.5, 850.0: 4.0, 1000.0: 2.5}
EA_EV = 0.35
IONS, FRAMES, STEP_PS = 4, 61, 0.1


# --- the allocation by itself -----------------------------------------------------------------------------------


def arms(*values):
    return [Arm(1 / (BOLTZMANN_EV_PER_K * kelvin), runs_, variance, hours) for kelvin, runs_, variance, hours in values]


def test_the_variance_of_the_energy_is_that_of_weighted_least_squares():
    found = arms((600, 3, 0.2, 1), (800, 2, 0.1, 1), (1000, 5, 0.3, 1))
    rng = np.random.default_rng(1)
    beta = np.array([arm.beta_per_eV for arm in found])
    sd = np.array([math.sqrt(arm.variance_of_one / arm.runs) for arm in found])
    slopes = [np.polyfit(beta, rng.normal(0, sd), 1, w=1 / sd)[0] for _ in range(4000)]
    assert np.var(slopes) == pytest.approx(energy_variance(found), rel=0.08)


def test_one_temperature_gives_no_energy():
    assert energy_variance(arms((600, 3, 0.2, 1), (800, 0, 0.2, 1))) == math.inf
    assert gain_per_hour(arms((600, 1, 0.2, 1), (800, 0, 0.2, 1)), 1) == math.inf


def test_runs_go_to_the_ends_and_to_where_they_are_cheap():
    even = arms((600, 1, 0.1, 1), (800, 1, 0.1, 1), (1000, 1, 0.1, 1))
    assert set(spend(even, 8)) == {0, 2}
    cheap = arms((600, 1, 0.1, 1), (1000, 1, 0.1, 9))
    chosen = spend(cheap, 40)
    assert chosen.count(0) == pytest.approx(3 * chosen.count(1), abs=5)  # n ~ sd / √hours


def test_a_temperature_off_the_line_is_looked_at_again():
    kelvins, values = (600, 700, 800, 1000), [0.0, 2.0, 0.0, 0.0]
    betas = [1 / (BOLTZMANN_EV_PER_K * kelvin) for kelvin in kelvins]
    off = misfits(betas, values, [0.1] * 4)
    assert np.argmax(off) == 1
    bent = [Arm(beta, 1, 0.1, 1.0, misfit) for beta, misfit in zip(betas, off, strict=True)]
    straight = [Arm(beta, 1, 0.1, 1.0, 0.0) for beta in betas]
    assert energy_variance(bent) > 10 * energy_variance(straight)
    assert spend(bent, 1) == [1]
    assert set(spend(straight, 6)) == {0, 3}


def test_spending_stops_at_the_target_and_at_the_budget():
    start = arms((600, 1, 0.1, 1), (1000, 1, 0.1, 1))
    needed = spend(start, 1000, variance_wanted=energy_variance(start) / 10)
    assert len(needed) == 18
    assert len(spend(start, 1000, hours=7.5)) == 7
    assert spend(start, 1000, hours=0.5) == []


# --- the whole loop, on random walks in place of molecular dynamics ---------------------------------------------


def walk_cell():
    rng = np.random.default_rng(0)
    numbers = np.array([11] * IONS + [40] * 4)
    return Cell(numbers, rng.uniform(0, 12, (len(numbers), 3)), np.eye(3) * 12.0)


def rate_per_ps(kelvin):
    return 6.0 * math.exp(-EA_EV / (BOLTZMANN_EV_PER_K * kelvin)) / math.exp(-EA_EV / (BOLTZMANN_EV_PER_K * 1000))


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder with a campaign on record, nothing run, and no potential needed."""
    identity = {"name": "walk", "sha256": "0" * 64, "dtype": "float64"}
    monkeypatch.setattr(driver, "load_identity", lambda *_: identity)
    write_cell(walk_cell(), tmp_path / "cell.extxyz")
    (tmp_path / "walk.yaml").write_text(yaml.safe_dump({
        "name": "walk", "structures": {"walk": {"file": "cell.extxyz"}}, "potential": {"name": "walk"},
        "md": {"time_ps": (FRAMES - 1) * STEP_PS, "frame_interval_fs": 1000 * STEP_PS},
        "temperatures_K": list(TEMPERATURES), "resources": {"processes": 1}}))
    return campaign.load(tmp_path / "walk.yaml"), tmp_path / "out"


class Walks:
    """Does a campaign's tasks as random walks; remembers the work."""

    def __init__(self, offset=0, hop_A=3.5, fails=()):
        self.offset, self.hop_A, self.fails = offset, hop_A, fails
        self.hours, self.counts = 0.0, dict.fromkeys(TEMPERATURES, 0)

    def __call__(self, config, folder):
        with driver.prepared(config, folder) as ready:
            for task in ready.tasks:
                if not (folder / "runs" / task.id).exists():
                    self.walk(folder, task, ready)

    def walk(self, folder, task, ready):
        rng = np.random.default_rng([self.offset, int(task.temperature_K), task.seed])
        ions = lattice_hops(rng, FRAMES, IONS, rate_per_ps(task.temperature_K) * (self.hop_A > 0), STEP_PS)
        labels = {"structure": task.structure, "task": task.id, "campaign": "walk"}
        start = ready.cells["walk"].positions_A
        with runs.RunWriter.create(folder / "runs" / task.id, task.config, ready.cells["walk"], ready.identity, labels,
                                   task.steps_total) as writer:
            for frame in range(FRAMES):
                moved = start.copy()
                moved[:IONS] += ions[frame]
                writer.frame(frame, frame * STEP_PS * 1000, moved, np.eye(3) * 12.0)
            hours = HOURS[task.temperature_K]
            failed = task.temperature_K in self.fails
            writer.finish("failed" if failed else "done", "planted" if failed else None,
                          {"steps_per_s": task.steps_total / hours / 3600})
        self.hours += hours
        self.counts[task.temperature_K] += 1


def best_fixed_hours(variances, target_eV, most=40):
    """Least work of any fixed numbers of runs whose interval is within the target, by trying them all."""
    counts = np.stack(np.meshgrid(*[np.arange(most)] * len(TEMPERATURES), indexing="ij")).reshape(len(TEMPERATURES), -1)
    weights = counts / np.array(variances)[:, None]
    beta = 1 / (BOLTZMANN_EV_PER_K * np.array(TEMPERATURES))[:, None]
    zeroth, first, second = (np.sum(weights * beta**power, axis=0) for power in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        half = 1.96 * np.sqrt(zeroth / (zeroth * second - first**2))
    hours = np.array(list(HOURS.values())) @ counts
    assert (counts[:, np.nanargmin(np.where(half <= target_eV, hours, np.inf))] < most - 1).all()
    return hours[half <= target_eV].min()


def variances_of_one(folder):
    """Variance of ln D from one run at each temperature, as the pooled runs have it."""
    groups = {group.temperature_K: group for item in estimates(folder, campaign.status(folder).tasks)
              for group in item.groups}
    return [groups[kelvin].ln_diffusivity[1] ** 2 * len(groups[kelvin].runs) for kelvin in TEMPERATURES]


@pytest.mark.slow
def test_extend_reaches_the_target_with_hardly_more_work_than_the_best_fixed_plan(begun, tmp_path):
    config, _ = begun
    truth = tmp_path / "truth"  # many runs everywhere, to know what a run is worth
    Walks(offset=99)(config.model_copy(update={"seeds": 12}), truth)
    best = best_fixed_hours(variances_of_one(truth), 0.03)
    ratios, errors = [], []
    for trial in range(3):
        walks, folder = Walks(offset=trial), tmp_path / f"trial-{trial}"
        walks(config, folder)
        ended = extend(folder, 0.03, runner=walks)
        assert ended.met
        assert ended.estimates[0].half_width_eV <= 0.03
        assert "target met" in ended.text()
        ratios.append(walks.hours / best)
        errors.append(ended.estimates[0].activation_energy_eV.value - EA_EV)
        print(trial, walks.counts, walks.hours, best, ratios[-1], errors[-1])
    assert np.mean(ratios) <= 1.3
    assert np.median(ratios) <= 1.1
    assert np.abs(errors).max() < 0.06


def test_the_budget_ends_it_and_the_same_command_goes_on(begun):
    config, folder = begun
    walks = Walks()
    walks(config, folder)
    ended = extend(folder, 0.01, budget_hours=4.0, runner=walks)
    assert not ended.met
    assert ended.missing == ["walk"]
    assert 0 < ended.spent_hours <= 4.0
    assert "budget spent: ±0.01 eV is not reached for walk" in ended.text()
    recorded = json.loads((folder / "campaign.json").read_text())["extensions"]
    assert len(recorded) == len(ended.added)
    assert len(campaign.status(folder).tasks) == 4 + len(ended.added)
    walks(config, folder)  # the campaign file as it was: what was added stays
    assert len(campaign.status(folder).tasks) == 4 + len(ended.added)
    again = extend(folder, 0.01, budget_hours=2.0, runner=walks)
    assert not {(run.temperature_K, run.seed) for run in again.added} & {(r.temperature_K, r.seed) for r in ended.added}


def test_a_target_already_met_adds_nothing(begun, capsys):
    config, folder = begun
    walks = Walks()
    walks(config.model_copy(update={"seeds": 2}), folder)
    ended = extend(folder, 5.0, runner=walks)
    assert ended.met
    assert ended.added == []
    assert json.dumps(campaign.status(folder).to_json())
    assert command(["campaign", "status", str(folder)]) == 0
    assert "walk: Ea 0." in capsys.readouterr().out


def test_runs_that_cannot_be_used_end_it_with_the_reason(begun):
    config, folder = begun
    Walks()(config, folder)
    with pytest.raises(RunFailed, match=r"runs of walk at .* cannot be used .*planted"):
        extend(folder, 0.01, runner=Walks(fails=TEMPERATURES))


def test_wrong_requests_are_one_line(begun):
    config, folder = begun
    Walks()(config, folder)
    for arguments, said in (((-1,), "positive number of eV"), ((0.1, 0), "positive number of hours"),
                            ((math.nan,), "positive number of eV")):
        with pytest.raises(InputError, match=said):
            extend(folder, *arguments)


def test_finished_groups_are_analyzed_once(begun, monkeypatch):
    from atomflow.campaign import estimates as room

    config, folder = begun
    Walks()(config, folder)
    tasks = campaign.status(folder, estimate=False).tasks
    first = estimates(folder, tasks)
    monkeypatch.setattr(room, "_analyze", lambda *_: pytest.fail("analyzed again"))
    assert estimates(folder, tasks) == first
    (folder / "estimate.json").write_text("{broken")
    (behind,) = estimates(folder, tasks, patience_s=-1.0)
    assert behind.behind == 4
    assert "no activation energy yet" in behind.line()
