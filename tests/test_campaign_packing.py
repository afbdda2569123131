"""Runs of a campaign packed into batches: the same results and folders, the same care when something goes wrong."""

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_campaign_faults import SHORT, prepare, written

from atomflow import campaign, md, runs
from atomflow.campaign import driver, node, worker
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.workers import Workers
from atomflow.errors import RunFailed

#: four runs of two lengths, in one batch of three and one of one
PACKED = {"temperatures_K": [150, 200], "seeds": 2, "md": {**SHORT, "time_ps": 0.2},
          "md_at": {150: {"time_ps": 0.3}}, "resources": {"processes": 1, "packing": 3}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The campaign with a worker for every run."""
    place = tmp_path_factory.mktemp("alone")
    path = written(place / "toy.yaml", **PACKED)
    for task in prepare(path, place / "out"):
        assert worker.main([str(place / "out"), task]) == 0
    return place / "out"


def assert_same(folder, alone):
    names = sorted(place.name for place in (alone / "runs").iterdir())
    assert names == sorted(place.name for place in (folder / "runs").iterdir())
    for name in names:
        found, expected = (runs.open_run(place / "runs" / name) for place in (folder, alone))
        np.testing.assert_array_equal(found.times_fs, expected.times_fs)
        np.testing.assert_allclose(found.positions_A(0, found.n_frames), expected.positions_A(0, expected.n_frames),
                                   atol=2e-6)  # frames are stored in single precision


def test_packed_and_unpacked_campaigns_agree(tmp_path, alone):
    folder = tmp_path / "out"
    campaign.run(campaign.load(written(tmp_path / "toy.yaml", **PACKED)), folder)
    assert campaign.status(folder).counts == {"done": 4}
    assert_same(folder, alone)
    assert len(list((folder / "logs").glob("pack-argon-150K-*.log"))) == 1
    sizes = {place.name: runs.open_run(place).manifest["summary"]["systems_in_batch"]
             for place in (folder / "runs").iterdir()}
    assert sorted(sizes.values()) == [1, 3, 3, 3]


def test_a_packed_worker_that_is_stopped_goes_on(tmp_path, alone, monkeypatch):
    folder = tmp_path / "out"
    tasks = prepare(written(tmp_path / "toy.yaml", **PACKED), folder)
    seen = []
    honest = worker._Reporter.moment

    def stop(self, progress, paths=None):
        self._last = 0.0
        honest(self, progress, paths)
        seen.append(campaign.status(folder, estimate=False))
        if len(seen) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(worker._Reporter, "moment", stop)
        assert worker.main([str(folder), *tasks]) == 75
    live = [row for row in seen[-1].tasks if row.state == "running"]
    assert len(live) == 3
    assert all(row.step == 16 and row.ns_per_day > 0 for row in live)
    assert seen[-1].ns_per_day == pytest.approx(3 * live[0].ns_per_day)
    assert campaign.status(folder).counts == {"stopped": 3, "waiting": 1}
    assert worker.main([str(folder), *tasks]) == 0
    assert_same(folder, alone)


def test_out_of_memory_halves_the_batch_and_status_says_so(tmp_path, alone, monkeypatch):
    from atomflow.potentials import pair

    folder = tmp_path / "out"
    tasks = prepare(written(tmp_path / "toy.yaml", **PACKED), folder)
    model = type(pair.LennardJones().batch_model([18], [0], 1))
    honest, calls = model.__call__, []

    def small(self, positions, lattices, edges, stress):
        calls.append(len(lattices))
        if len(lattices) > 1 and len(calls) > 25:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return honest(self, positions, lattices, edges, stress)

    with monkeypatch.context() as patch:
        patch.setattr(model, "__call__", small)
        assert worker.main([str(folder), *tasks]) == 0
    state = campaign.status(folder)
    assert state.counts == {"done": 4}
    told = [row.warning for row in state.tasks if "GPU" in (row.warning or "")]
    assert len(told) == 3
    assert "3 runs at a time did not fit into the GPU's memory (out of GPU memory at step 24" in told[0]
    assert "they go on 1 at a time from their checkpoints" in told[0]
    assert calls.count(1) < 3 * 60 - 3 * 20 + 61  # the first twenty steps of the three were not done again
    assert_same(folder, alone)


def test_one_run_that_fails_in_a_batch_is_named_and_the_others_are_done(tmp_path):
    path = written(tmp_path / "toy.yaml", temperatures_K=[100, 20000], md={**SHORT, "max_force_eV_per_A": 1.0},
                   resources={"processes": 1, "packing": 2})
    with pytest.raises(RunFailed, match=r"1 of the campaign's tasks failed: argon-20000K-s1-\w+ \(.*force on atom"):
        campaign.run(campaign.load(path), tmp_path / "out")
    assert campaign.status(tmp_path / "out").counts == {"done": 1, "failed": 1}


# --- who packs --------------------------------------------------------------------------------------------------


def configuration(device="auto", **resources):
    return CampaignConfig(name="a", structures={"a": {"file": "a.cif"}}, temperatures_K=[300], md={"time_ps": 1},
                          potential={"name": "lennard-jones-argon", "device": device}, resources=resources)


@pytest.mark.parametrize(("config", "cuda", "here", "on_slurm"), [
    (configuration(), False, False, False),
    (configuration(), True, True, False),
    (configuration("cpu"), True, False, False),
    (configuration("cuda:1"), True, True, True),
    (configuration(packing=1), True, False, False),
    (configuration("cpu", packing=4), False, True, True),
    (configuration(slurm={"gpus": 1}), False, False, True),
    (configuration("cpu", slurm={"gres": "gpu:1"}), False, False, False),
])
def test_runs_are_packed_where_asked_for_and_on_gpus(monkeypatch, config, cuda, here, on_slurm):
    monkeypatch.setattr(driver, "_cuda", lambda: cuda)
    assert driver.packed(config) is here
    assert config.packs_on_slurm is on_slurm


def test_a_packed_job_is_one_worker_with_the_cores_of_one(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "toy.yaml", **{**PACKED, "resources": {
        "packing": 3, "threads_per_process": 2, "slurm": {"tasks_per_job": 4}}})
    folder = tmp_path / "out"
    tasks = prepare(path, folder)
    (text,) = campaign.dry_run(campaign.load(path), folder)
    assert "--cpus-per-task=2\n" in text
    assert "--array=0-0\n" in text
    launched = []
    monkeypatch.setattr(Workers, "launch", lambda self, share: launched.append(list(share)))
    (tmp_path / "list").write_text(" ".join(tasks) + "\n")
    assert node.main([str(folder), str(tmp_path / "list"), "0"]) == 0
    record = json.loads((folder / "campaign.json").read_text())
    record["config"]["resources"]["packing"] = "auto"
    (folder / "campaign.json").write_text(json.dumps(record))
    assert node.main([str(folder), str(tmp_path / "list"), "0"]) == 0
    assert launched == [tasks, *([task] for task in tasks)]


def test_auto_measures_on_a_gpu_and_says_what_it_found(monkeypatch, capsys):
    asked = []

    def knee(cell, potential, config, most):
        asked.append((cell, most))
        return md.Knee(8, {1: 10.0, 8: 60.0, 16: 63.0}, "gain")

    monkeypatch.setattr(md, "knee", knee)
    jobs = [SimpleNamespace(cell=cell, config=None) for cell in ("small", "the largest", "middle")]
    gpu, cpu = (SimpleNamespace(device=torch.device(name)) for name in ("cuda", "cpu"))
    assert worker._batch_size(jobs, gpu, "auto") == 8
    assert asked == [("the largest", 3)]
    assert ("3 runs to do: 8 runs at a time (twice as many give less than 10 % more; steps/s altogether by size: "
            "1: 10, 8: 60, 16: 63)") in capsys.readouterr().err
    assert worker._batch_size(jobs, cpu, "auto") == 1
    assert worker._batch_size(jobs, gpu, 2) == 2
