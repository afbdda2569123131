"""Malformed campaign files: each is one line that names the file and what is wrong in it. And status on many tasks."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from atomflow import campaign
from atomflow.campaign.config import CampaignConfig, PotentialChoice
from atomflow.campaign.resources import Slurm
from atomflow.cli.main import run as command
from atomflow.errors import InputError

TOY = Path(__file__).parent.parent / "workflows" / "bulk" / "toy.extxyz"
GOOD = {
    "name": "toy",
    "structures": {"argon": {"file": str(TOY)}},
    "potential": {"name": "lennard-jones-argon"},
    "md": {"time_ps": 0.2, "timestep_fs": 5.0},
    "temperatures_K": [100, 200],
}


def without(key):
    return yaml.safe_dump({name: value for name, value in GOOD.items() if name != key})


def having(**changes):
    return yaml.safe_dump({**GOOD, **changes})


def slurm(**keys):
    return having(resources={"slurm": keys})


MALFORMED = {
    "": r"expected keys and values at the top level",
    "- a\n- b\n": r"expected keys and values at the top level",
    "name: [\n": r"line 2: not valid YAML",
    "name: a\nname: b\n": r"line 2: not valid YAML .*'name' is given twice",
    "\tname: a\n": r"not valid YAML",
    without("name"): r"the key 'name' is missing",
    without("structures"): r"the key 'structures' is missing",
    without("potential"): r"the key 'potential' is missing",
    without("md"): r"the key 'md' is missing",
    without("temperatures_K"): r"the key 'temperatures_K' is missing",
    having(temperature_K=[1]): r"unknown key 'temperature_K'; did you mean 'temperatures_K'",
    having(name="a b"): r"'name': .*letters, digits.*'a b'",
    having(name=None): r"'name'",
    having(structures={}): r"structures: at least one is needed",
    having(structures=["a"]): r"'structures'",
    having(structures={"../up": {"file": "x"}}): r"letters, digits.*'\.\./up'",
    having(structures={"a": "file.cif"}): r"'structures\.a'",
    having(structures={"a": {"file": 7}}): r"structures\.a: 'file'",
    having(structures={"a": {"file": "x", "supercell": [1, 1, 1]}}): r"structures\.a: unknown key 'supercell'",
    having(structures={"a": {"builder": "nzsp", "order": "sorted"}}): r"structures\.a: 'order'",
    having(structures={"a": {"builder": "glas"}}): r"there is no builder 'glas'",
    having(potential="chgnet"): r"'potential'",
    having(potential={"name": "chgnet", "dtype": "float16"}): r"'potential\.dtype'",
    having(relax="box"): r"'relax'",
    having(relax_fmax_eV_per_A=0): r"'relax_fmax_eV_per_A': .*greater than 0",
    having(md={"time_ps": "long"}): r"md: 'time_ps'",
    having(md={"time_ps": 0.2, "timestep": 2}): r"unknown key 'timestep'; did you mean 'timestep_fs'",
    having(md={"time_ps": 0.2, "seed": 3}): r"md\.seed: give seeds",
    having(md={"time_ps": 0.2, "temperature_K": 3}): r"md\.temperature_K: give temperatures_K",
    having(md={"time_ps": 0.2, "frame_interval_fs": 7.0}): r"not a whole number of time steps",
    having(md_at={100: {"seed": 1}}): r"md_at\.100\.seed: give seeds",
    having(potential={"nam": "chgnet"}): r"unknown key 'potential\.nam'; did you mean 'name'",
    having(structures={"a": {"files": "x"}}): r"structures\.a: give either builder",
    having(md={"time_ps": float("nan")}): r"md: 'time_ps'",
    having(md_at={300: {"time_ps": 1}}): r"300 K is not among temperatures_K",
    having(md_at={"cold": {"time_ps": 1}}): r"'md_at\.cold",
    having(temperatures_K=[]): r"temperatures_K: at least one is needed",
    having(temperatures_K=[100, 100.0]): r"temperatures_K: one is given twice",
    having(temperatures_K=300): r"'temperatures_K'",
    having(temperatures_K=[-5]): r"'temperature_K': .*greater than 0",
    having(seeds=[1, 1]): r"seeds: one is given twice",
    having(seeds=True): r"seeds",
    having(seeds=-1): r"seeds: at least one is needed",
    having(resources={"processes": 0}): r"processes.*at least one",
    having(resources={"packing": 0}): r"resources\.packing'.*at least one",
    having(resources={"packing": "all"}): r"resources\.packing",
    having(resources={"threads": 2}): r"unknown key 'resources\.threads'",
    slurm(partitions="a"): r"unknown key 'resources\.slurm\.partitions'; did you mean 'partition'",
    slurm(partition="a b"): r"partition.*one word",
    slurm(time=43200): r"slurm\.time.*in quotes",
    slurm(time="soon"): r"slurm\.time.*in quotes",
    slurm(time="00:03:00", warn_s=120): r"leave no time to work",
    slurm(memory="8 GB"): r"slurm\.memory.*e\.g\. 8G",
    slurm(gpus=1, gres="gpu:1"): r"give one of the two",
    slurm(tasks_per_job=0): r"tasks_per_job",
    slurm(extra=["-p gpu"]): r"begin with '--'",
    slurm(extra=["--array=1-4"]): r"written by the campaign itself \(see array_limit\)",
    slurm(setup="module load x"): r"slurm\.setup",
    slurm(setup=["#SBATCH --mem=1G"]): r"options of sbatch go into extra",
    having(folder="/"): r"unknown key 'folder'",
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_a_malformed_file_is_one_clear_line(tmp_path, capsys, content, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        campaign.load(path)
    assert "wrong.yaml" in str(raised.value)
    assert command(["campaign", "run", str(path), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "internal error" not in said[0]
    assert not (tmp_path / "out").exists()


def test_the_reference_has_every_key():
    text = (TOY.parents[2] / "docs" / "campaign.md").read_text()
    keys = [*CampaignConfig.model_fields, *(f"potential.{key}" for key in PotentialChoice.model_fields),
            "processes", "threads_per_process", "packing", *Slurm.model_fields]
    unknown = [key for key in keys if f"`{key}`" not in text and f"`slurm.{key}`" not in text]
    assert unknown == ["potential", "folder"]  # its keys are there one by one; set by load


# --- many tasks -------------------------------------------------------------------------------------------------


def many(folder, count):
    """A campaign of ``count`` tasks in every state, as files; trajectories are empty, the analysis is kept."""
    tasks, groups = [], {}
    for number in range(count):
        kelvin, seed = 500.0 + 100 * (number % 5), number // 5
        name = f"a-{kelvin:g}K-s{seed}-00000000"
        tasks.append({"id": name, "key": f"{number:064d}", "structure": "a", "temperature_K": kelvin, "seed": seed,
                      "n_atoms": 100, "steps_total": 1000, "n_frames": 101, "config": {}})
        state = ("done", "done", "stopped", "running", "failed")[number % 5] if number % 11 else None
        if state is None:
            continue
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({
            "format": "atomflow-run", "format_version": 1, "state": state, "reason": "planted" if state == "failed"
            else None, "config": {"temperature_K": kelvin}, "progress": {"step": 500, "time_ps": 1.0},
            "warnings": [], "summary": {"ns_per_day": 2.0}, "cell": {"n_atoms": 100}, "labels": {"structure": "a"}}))
        if state == "done":
            (run / "trajectory.h5").touch()
            group = groups.setdefault(f"a {kelvin:g}", {
                "structure": "a", "temperature_K": kelvin, "runs": [], "left_out": {}, "actual_K": kelvin,
                "ln_diffusivity": [-10 - 4000 / kelvin, 0.1], "hops": 50.0, "exposure_s_per_cm2": 1e7})
            group["runs"].append(name)
    (folder / "cells").mkdir()
    (folder / "progress").mkdir()
    (folder / "cells" / "a.json").write_text('{"key": "", "result": null}')
    (folder / "estimate.json").write_text(json.dumps(groups))
    (folder / "campaign.json").write_text(json.dumps({
        "format": "atomflow-campaign", "format_version": 1, "name": "many", "tasks": tasks, "structures": {"a": {}},
        "config": {}}))
    return folder


def test_status_of_a_thousand_tasks_is_fast_and_needs_no_torch(tmp_path):
    folder = many(tmp_path / "out", 1000)
    code = ("import sys, time; start = time.process_time()\n"
            "class NoTorch:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'torch': raise ModuleNotFoundError('no torch')\n"
            "sys.meta_path.insert(0, NoTorch())\n"
            "from atomflow.cli.main import run; code = run(['campaign', 'status', sys.argv[1]])\n"
            "print(time.process_time() - start, file=sys.stderr); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 1000
    assert "many: 363 of 1000 tasks done" in lines[-1]
    assert "a: Ea 0.34" in lines[-2]
    print(f"{done.stderr.split()[-1]} s of CPU")
    assert float(done.stderr.split()[-1]) < 2.0  # CPU time: this machine may be busy


def test_watching_ends_when_nothing_runs(tmp_path, capsys):
    folder = many(tmp_path / "out", 10)
    started = time.monotonic()
    assert command(["campaign", "status", str(folder), "--watch"]) == 0
    assert time.monotonic() - started < 5
    assert "many: " in capsys.readouterr().out
    assert command(["campaign", "status", str(folder), "--watch", "--json"]) == 2
