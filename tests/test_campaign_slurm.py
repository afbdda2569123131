"""Campaigns on SLURM: the scripts as text, and the whole way on a real single-node SLURM that the tests start."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from atomflow import campaign
from atomflow.campaign import node, queue
from atomflow.campaign.resources import Resources, Slurm, time_in_seconds
from atomflow.campaign.scripts import Array, arrays, script
from atomflow.campaign.tasks import Task
from atomflow.cli.main import run as command
from atomflow.errors import InputError, RunFailed

WORKFLOWS = Path(__file__).parent.parent / "workflows" / "bulk"


def smoke(path, **changes):
    """The smoke campaign with a small job each."""
    data = yaml.safe_load((WORKFLOWS / "smoke.yaml").read_text())
    data["structures"]["toy"]["file"] = str(WORKFLOWS / "toy.extxyz")
    data["resources"] = {"slurm": {"time": "00:20:00", "memory": "400M", "tasks_per_job": 2}}
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


#: changes of the smoke campaign with which its atoms diffuse, so that it has an activation energy
LIQUID = {"temperatures_K": [300, 600], "relax": "none",
          "md": {"equilibration_ps": 0.5, "time_ps": 4.0, "timestep_fs": 5.0, "checkpoint_interval_ps": 0.5}}


def task(structure, number):
    return Task(f"{structure}-{number}", "key", structure, 300.0, number, 32, 100, 10, {})


# --- scripts ----------------------------------------------------------------------------------------------------


def test_runs_wait_for_their_own_structure_only_and_arrays_stay_below_slurms_limit():
    tasks = [task("a", n) for n in range(2500)] + [task("b", n) for n in range(3)]
    found = list(arrays("study", tasks, ["a"], tasks_per_job=2))
    assert [(array.name, array.after, len(array.elements)) for array in found] == [
        ("study-relax", None, 1), ("study-a", "relax-a", 1000), ("study-a", "relax-a", 250), ("study-b", None, 2)]
    assert [name for array in found[1:] for tasks_ in array.elements for name in tasks_] == [t.id for t in tasks]


def test_every_resource_reaches_the_script(tmp_path):
    resources = Resources(threads_per_process=3, slurm=Slurm(
        partition="gpu", account="p1", qos="long", time="1-00:00:00", warn_s=300, memory="8G", tasks_per_job=2,
        array_limit=5, gres="gpu:a100:1", setup=["module load python"], extra=["--constraint=ice"],
        python="/opt/python"))
    text = script(Array("study-a", [["a-1", "a-2"], ["a-3"]]), tmp_path / "my study", tmp_path / "list", resources)
    options = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert set(options) >= {
        "--partition=gpu", "--account=p1", "--qos=long", "--time=1-00:00:00", "--signal=B:USR1@300", "--mem=8G",
        "--cpus-per-task=6", "--array=0-1%5", "--gres=gpu:a100:1", "--constraint=ice", "--requeue"}
    lines = text.splitlines()
    assert lines.index("module load python") < lines.index(next(line for line in lines if line.startswith("exec")))
    assert f"exec /opt/python -m atomflow.campaign.node '{tmp_path}/my study'" in text
    assert f"#SBATCH --output='{tmp_path}/my study/logs/slurm-%A_%a.log'" in lines  # sbatch ends a word at a space
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "--mem" not in script(Array("a", [["a-1"]]), tmp_path, tmp_path, Resources())


@pytest.mark.parametrize(("text", "seconds"), [
    ("30", 1800), ("30:10", 1810), ("02:00:01", 7201), ("1-12", 129600), ("1-00:30", 88200), ("2-00:00:05", 172805),
    ("", None), ("1h", None), ("1:2:3:4", None)])
def test_times_as_slurm_reads_them(text, seconds):
    assert time_in_seconds(text) == seconds


def test_a_dry_run_prints_scripts_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(["campaign", "run", str(smoke(tmp_path / "smoke.yaml")), "--on", "slurm", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("#!/bin/bash") == 2
    assert "sbatch --dependency=afterok:RELAXATIONS_0 --kill-on-invalid-dep=yes smoke-toy.sh" in shown
    assert "--array=0-1\n" in shown
    assert command(["campaign", "run", "smoke.yaml", "--on", "slurm", "--dry-run", "--json"]) == 0
    assert "\n".join(json.loads(capsys.readouterr().out)["scripts"]) + "\n" == shown
    assert [path.name for path in tmp_path.iterdir()] == ["smoke.yaml"]


def test_what_cannot_go_to_slurm_is_one_line(tmp_path, capsys, monkeypatch):
    path = str(smoke(tmp_path / "smoke.yaml"))
    monkeypatch.setenv("PATH", "")
    for arguments, said in (
        (["run", path, "-o", str(tmp_path / "out"), "--on", "slurm"], "there is no sbatch on this machine"),
        (["run", path, "-o", str(tmp_path / "out"), "--on", "moon"], "--on is local or slurm"),
        (["run", path, "--dry-run"], "needs --on slurm"),
        (["run", path], "give the folder"),
    ):
        assert command(["campaign", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1


# --- squeue and sbatch, played by scripts -----------------------------------------------------------------------


def play(folder, monkeypatch, **programs):
    """Put shell scripts in the place of SLURM's commands."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    for name, text in programs.items():
        (place / name).write_text(f"#!/bin/bash\n{text}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")


@pytest.fixture
def handed_in(tmp_path, monkeypatch):
    """A campaign handed to an sbatch that gives out the numbers 100 and 101."""
    play(tmp_path, monkeypatch, squeue="true",
         sbatch=f'echo "$@" >> {tmp_path}/said; echo $((98 + $(wc -l < {tmp_path}/said)))')
    folder = tmp_path / "out"
    assert campaign.submit(campaign.load(smoke(tmp_path / "smoke.yaml")), folder) == ["99", "100"]
    return folder


def test_the_runs_are_linked_to_the_relaxation_and_nothing_is_handed_in_twice(handed_in, tmp_path, monkeypatch):
    said = (tmp_path / "said").read_text().splitlines()
    assert "--dependency" not in said[0]
    assert "--dependency=afterok:99_0 --kill-on-invalid-dep=yes" in said[1]
    rows = ("99_0 R None", "100_0 PD Dependency", "100_1 PD QOSMaxJobs", "7_0 R None")
    play(tmp_path, monkeypatch, squeue="\n".join(f"echo {row}" for row in rows))
    config = campaign.load(tmp_path / "smoke.yaml")
    assert campaign.submit(config, handed_in) == []
    state = campaign.status(handed_in)
    assert state.counts == {"queued": 4}
    assert "SLURM has it" in state.text()
    assert [row.warning for row in state.tasks] == [None, None, "QOSMaxJobs", "QOSMaxJobs"]
    with pytest.raises(InputError, match=r"5 tasks are with SLURM \(job 100, 99\).*campaign cancel"):
        campaign.run(config, handed_in)


def test_status_works_without_squeue_and_says_so(handed_in, monkeypatch):
    monkeypatch.setenv("PATH", "")
    state = campaign.status(handed_in)
    assert state.counts == {"waiting": 4}
    assert "no squeue on this machine" in state.warnings[0]


def test_a_slurm_that_refuses_or_does_not_answer(handed_in, tmp_path, monkeypatch):
    config = campaign.load(tmp_path / "smoke.yaml")
    play(tmp_path, monkeypatch, sbatch="echo 'sbatch: error: invalid account' >&2; exit 1")
    with pytest.raises(RunFailed, match=r"invalid account; nothing was handed in; mend resources\.slurm"):
        campaign.submit(config, handed_in)
    play(tmp_path, monkeypatch, squeue="exec sleep 30")
    monkeypatch.setattr(queue, "PATIENCE_S", 0.2)
    with pytest.raises(InputError, match="did not answer"):
        queue.in_queue(handed_in)


def test_watching_goes_on_while_slurm_does_not_answer_and_says_so_once(handed_in, tmp_path, monkeypatch, capsys):
    """Answers in turn: queued, none (a time-out), a failure, running, and nothing is there any more."""
    asked = tmp_path / "asked"
    play(tmp_path, monkeypatch, squeue=f"""echo x >> {asked}
        case $(wc -l < {asked}) in
            1) echo 100_0 PD Priority;; 2) exec sleep 30;; 3) echo 'slurm_load_jobs error' >&2; exit 1;;
            4) echo 100_0 R None;; 5) exec sleep 30;; *) true;;
        esac""")
    monkeypatch.setattr(queue, "PATIENCE_S", 0.5)
    assert command(["campaign", "status", str(handed_in), "--watch", "--every", "0.2"]) == 0
    told = capsys.readouterr()
    assert len(asked.read_text().split()) == 6
    assert told.out.count("SLURM has it") == 2
    assert told.out.count("nobody is driving it") == 1
    assert told.err.count("watching on") == 2  # once for each time that it fell silent, not once a look
    assert "squeue did not answer within" in told.err


def test_a_cancelled_campaign_is_told_as_one_object(handed_in, tmp_path, monkeypatch, capsys):
    play(tmp_path, monkeypatch, squeue="echo 100_0 R None", scancel="true")
    assert command(["campaign", "cancel", str(handed_in), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"folder": str(handed_in), "told": "SLURM was asked to end job 100"}


def test_a_slurm_that_does_not_answer_leaves_the_state_open(handed_in, tmp_path, monkeypatch, capsys):
    play(tmp_path, monkeypatch, squeue="echo 'Unable to contact slurm controller' >&2; exit 1")
    state = campaign.status(handed_in)
    assert state.with_slurm is None
    assert state.active
    assert "SLURM may have it" in state.text()
    assert command(["campaign", "status", str(handed_in), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["with_slurm"] is None
    assert "Unable to contact" in told["warnings"][0]
    assert command(["campaign", "retry", str(handed_in), "--on", "slurm"]) == 1  # nothing wrong with what was asked
    assert "squeue failed: Unable to contact slurm controller" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "index", "said"), [
    ("a b\n", "3", "1 lines, none for element 3"), (None, "0", "cannot read"), ("a\n", "x", "usage")])
def test_a_wrong_element_is_one_line(tmp_path, capsys, content, index, said):
    if content:
        (tmp_path / "list").write_text(content)
    assert node.main([str(tmp_path), str(tmp_path / "list"), index]) == 2
    assert said in capsys.readouterr().err
