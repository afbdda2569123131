"""Extending a campaign to a stated error: the allocation by itself, and the whole loop on random walks of known Ea."""

import json
import math
import re

import numpy as np
import pytest
import scipy.special
import yaml
from test_campaign_slurm import LIQUID, play, smoke
from transport_walks import lattice_hops

from atomflow import campaign, runs
from atomflow.campaign import driver
from atomflow.campaign import estimates as rooms
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


@pytest.mark.slow
def test_extend_reaches_the_target_on_walks(begun, tmp_path):
    """The whole way once, trajectories and their analysis included; for the work see the planted hops below."""
    config, folder = begun
    walks = Walks()
    walks(config, folder)
    ended = extend(folder, 0.03, runner=walks)
    assert ended.met
    assert ended.estimates[0].half_width_eV <= 0.03
    assert "target met" in ended.text()
    assert abs(ended.estimates[0].activation_energy_eV.value - EA_EV) < 0.06


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
    of = rf"from 8 runs at 4 temperatures; {walk_cell().formula} with walk \(0{{12}}, float64\)"
    assert re.search(rf"^walk: Ea 0\.\d+ eV \(0\.\d+ to 0\.\d+, 95 %\) {of}$", capsys.readouterr().out, re.MULTILINE)


def test_runs_that_cannot_be_used_end_it_with_the_reason(begun):
    config, folder = begun
    Walks()(config, folder)
    with pytest.raises(RunFailed, match=r"runs of walk at .* cannot be used .*planted"):
        extend(folder, 0.01, runner=Walks(fails=TEMPERATURES))


def test_wrong_requests_are_one_line(begun):
    config, folder = begun
    Walks()(config, folder)
    for arguments, said in (((-1,), "target error in eV must be a positive number"), (("0.03",), "not '0.03'"),
                            ((0.1, 0), "budget in hours must be a positive number"), ((math.nan,), "not nan")):
        with pytest.raises(InputError, match=said):
            extend(folder, *arguments)


def test_finished_groups_are_analyzed_once(begun, monkeypatch):
    config, folder = begun
    Walks()(config, folder)
    tasks = campaign.status(folder, estimate=False).tasks
    first = estimates(folder, tasks)
    monkeypatch.setattr(rooms, "_analyze", lambda *_: pytest.fail("analyzed again"))
    assert estimates(folder, tasks) == first
    (folder / "estimate.json").write_text("{broken")
    (behind,) = estimates(folder, tasks, patience_s=-1.0)
    assert behind.behind == 4
    assert "no activation energy yet" in behind.line()


# --- the work, on planted hops in place of trajectories ---------------------------------------------------------

#: kelvins, hours of a run, hops that one sees on average, activation energy (eV), runs side by side
CASES = {
    "dear middle": ((600, 700, 850, 1000), (1.0, 1.5, 4.0, 2.5), (6, 10, 20, 40), 0.35, 1),
    "long runs": ((600, 700, 850, 1000), (1.0, 1.5, 4.0, 2.5), (15, 30, 60, 110), 0.35, 1),
    "few hops when cold": ((600, 800, 1000), (1.0, 1.0, 1.0), (3, 20, 80), 0.35, 1),
    "dear cold": ((700, 850, 1000), (4.0, 2.0, 1.0), (20, 20, 20), 0.30, 1),
    "two temperatures": ((700, 1000), (1.0, 1.0), (30, 60), 0.30, 1),
    "eight side by side": ((500, 700, 1000), (2.0, 1.0, 1.0), (4, 8, 15), 0.30, 8),
}


class Planted:
    """Plays the runs of a case: each is done at once and has seen a random number of hops."""

    def __init__(self, case, trial, monkeypatch):
        self.kelvins, self.hours, self.hops, self.energy_eV, self.lanes = case
        self.trial, self.spent = trial, 0.0
        monkeypatch.setattr(rooms, "_analyze", self.analyze)

    def begin(self, place, monkeypatch):
        identity = {"name": "hops", "sha256": "0" * 64, "dtype": "float64"}
        monkeypatch.setattr(driver, "load_identity", lambda *_: identity)
        write_cell(walk_cell(), place / "cell.extxyz")
        (place / "hops.yaml").write_text(yaml.safe_dump({
            "name": "hops", "structures": {"a": {"file": "cell.extxyz"}}, "potential": {"name": "hops"},
            "md": {"time_ps": 1.0}, "temperatures_K": list(self.kelvins), "resources": {"processes": self.lanes}}))
        self(campaign.load(place / "hops.yaml"), place / "out")
        return place / "out"

    def __call__(self, config, folder):
        with driver.prepared(config, folder) as ready:
            for task in ready.tasks:
                run = folder / "runs" / task.id
                if run.exists():
                    continue
                run.mkdir()
                hours = dict(zip(self.kelvins, self.hours, strict=True))[task.temperature_K]
                self.spent += hours
                (run / "run.json").write_text(json.dumps({
                    "format": "atomflow-run", "format_version": 1, "state": "done", "reason": None, "warnings": [],
                    "config": task.config, "cell": {"n_atoms": 8}, "labels": {"structure": "a"},
                    "progress": {"step": task.steps_total, "time_ps": 1.0},
                    "summary": {"steps_per_s": task.steps_total / hours / 3600}}))

    def analyze(self, folder, structure, kelvin, names):
        """ln D with the mean and spread that counting hops gives."""
        expected = dict(zip(self.kelvins, self.hops, strict=True))[kelvin]
        seeds = [int(name.split("-s")[1].split("-")[0]) for name in names]
        seen = sum(np.random.default_rng([self.trial, int(kelvin), seed]).poisson(expected) for seed in seeds)
        exposure = len(seeds) * expected * math.exp(self.energy_eV / (BOLTZMANN_EV_PER_K * kelvin))
        known = (math.log(max(seen, 1) / exposure), math.sqrt(scipy.special.polygamma(1, seen))) if seen > 1 else None
        return rooms.GroupEstimate(structure, kelvin, list(names), {}, kelvin, known, float(seen), exposure)


def best_fixed_hours(case, target_eV, at_least=1):
    """Least work of any fixed numbers of runs whose expected interval is within the target, by trying them all, with so
    many at every temperature at least."""
    kelvins, hours, hops, _, _ = case
    most = {2: 200, 3: 90, 4: 30}[len(kelvins)]
    axis = np.arange(at_least, most)
    counts = np.stack(np.meshgrid(*[axis] * len(kelvins), indexing="ij")).reshape(len(kelvins), -1)
    weights = counts * np.array(hops)[:, None]  # 1 / variance of ln D
    beta = 1 / (BOLTZMANN_EV_PER_K * np.array(kelvins))[:, None]
    zeroth, first, second = (np.sum(weights * beta**power, axis=0) for power in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        half = 1.96 * np.sqrt(zeroth / (zeroth * second - first**2))
    work = np.where(half <= target_eV, np.array(hours) @ counts, np.inf)
    assert (counts[:, work.argmin()] < most - 1).all()
    return float(work.min())


def ratios(name, trials, folder, monkeypatch):
    """Work of ``extend``, its campaign's own runs included, over that of the best fixed plan with a run at every
    temperature of the file; errors of Ea."""
    best, found, errors = best_fixed_hours(CASES[name], 0.03), [], []
    for trial in trials:
        with monkeypatch.context() as patch:
            played = Planted(CASES[name], trial, patch)
            place = folder / f"{name}-{trial}"
            place.mkdir()
            ended = extend(played.begin(place, patch), 0.03, runner=played)
        assert ended.met
        found.append(played.spent / best)
        errors.append(abs(ended.estimates[0].activation_energy_eV.value - CASES[name][3]))
    return found, errors


def test_extend_works_hardly_more_than_the_best_fixed_plan(tmp_path, monkeypatch):
    found, _ = ratios("two temperatures", range(2), tmp_path, monkeypatch)
    assert max(found) < 1.3


@pytest.mark.slow
def test_the_work_of_extend_over_many_campaigns(tmp_path, monkeypatch):
    every, errors = [], []
    for name in CASES:
        found, off = ratios(name, range(6), tmp_path, monkeypatch)
        every += found
        errors += off
        free = best_fixed_hours(CASES[name], 0.03, 0) / best_fixed_hours(CASES[name], 0.03)
        print(f"{name}: mean {np.mean(found):.2f} ({np.mean(found) / free:.2f} of the best without a run at every "
              f"temperature), each {np.round(np.sort(found), 2).tolist()}")
    print(f"all {len(every)}: mean {np.mean(every):.2f}, median {np.median(every):.2f}, 90 % below "
          f"{np.quantile(every, 0.9):.2f}, worst {max(every):.2f}; {np.mean(np.array(every) <= 1.3):.2f} within 1.3; "
          f"Ea within the target of the truth in {np.mean(np.array(errors) <= 0.03):.2f}")
    assert np.mean(every) <= 1.3
    assert np.median(every) <= 1.15
    assert np.mean(np.array(errors) <= 0.03) >= 0.85


@pytest.mark.slow
def test_extend_with_real_dynamics(tmp_path):
    """Molecular dynamics of the toy liquid, four runs at a time in one worker."""
    path = smoke(tmp_path / "smoke.yaml", **LIQUID, resources={"processes": 1, "packing": 4})
    campaign.run(campaign.load(path), tmp_path / "out")
    before = campaign.status(tmp_path / "out").estimates[0]
    ended = extend(tmp_path / "out", 0.75 * before.half_width_eV)
    print(before.line(), "→", ended.text())
    assert ended.met
    assert ended.added
    assert campaign.status(tmp_path / "out").counts == {"done": 4 + len(ended.added)}
    assert ended.estimates[0].half_width_eV <= 0.75 * before.half_width_eV


# --- on SLURM ---------------------------------------------------------------------------------------------------


def test_on_slurm_every_call_hands_in_one_round(begun, tmp_path, monkeypatch, capsys):
    config, folder = begun
    said = tmp_path / "said"
    play(tmp_path, monkeypatch, squeue="true", sbatch=f"echo x >> {said}; wc -l < {said}", scancel="true")
    with driver.prepared(config, folder):
        pass

    def again(*budget):
        assert command(["campaign", "extend", str(folder), "--target-ea-error", "0.08", "--on", "slurm", *budget,
                        "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    first = again()  # what the file asks for is not done
    assert (first["jobs"], first["waiting"], first["added"], first["met"]) == (["1"], 4, [], False)
    element = campaign.queue.submissions(folder)[0]["elements"]
    play(tmp_path, monkeypatch, squeue="\n".join(f"echo 1_{index} R None" for index in range(len(element))))
    assert again()["jobs"] == []  # still at work
    play(tmp_path, monkeypatch, squeue="true")
    walks, rounds = Walks(), []
    walks(config, folder)
    while not (state := again())["met"]:
        rounds.append(len(state["added"]))
        assert state["waiting"] == rounds[-1] > 0
        assert len(campaign.status(folder, estimate=False).tasks) == 4 + sum(rounds)
        walks(config, folder)
    assert rounds
    assert rounds[0] <= 4  # no more than there were
    assert state["estimates"][0]["activation_energy_eV"]["value"] == pytest.approx(EA_EV, abs=0.16)
    assert again("--budget-hours", "0.5")["met"]
