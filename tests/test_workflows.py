"""Every study of ``workflows/``: the production file is sound, and its smoke variant runs from nothing to numbers."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from atomflow import campaign, potentials
from atomflow.campaign import worker, workers
from atomflow.campaign.state import status
from atomflow.campaign.tasks import expand
from atomflow.cell import read_cell
from atomflow.cli.main import app
from atomflow.cli.main import run as command
from atomflow.md.config import MDConfig
from atomflow.runs import open_run

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
STUDIES = ("bulk", "glass", "boundary", "sealed", "contact", "reactivity", "phonon")
CAMPAIGNS = [name for name in STUDIES if (WORKFLOWS / name / f"{name}.yaml").exists()]
SCRIPTS = [name for name in STUDIES if (WORKFLOWS / name / "study.sh").exists()]


def commands(script):
    """The atomflow commands of a script, each as a list of words."""
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.split()[0] in ("atomflow", "mkdir", "set") for line in lines)
    return [shlex.split(line)[1:] for line in lines if line.startswith("atomflow")]


def in_comments(path):
    """The atomflow commands that the head of a file shows."""
    found = [line.lstrip("# ").split("  #")[0] for line in path.read_text().splitlines() if line.startswith("#")]
    return [shlex.split(line)[1:] for line in found if line.startswith("atomflow ")]


def parse(words):
    """The command line takes these words; nothing runs."""
    group = typer.main.get_command(app)
    with group.make_context("atomflow", list(words)) as context:
        while True:
            name, chosen, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
            context = chosen.make_context(name, rest, parent=context)
            if not hasattr(chosen, "resolve_command"):
                return


def test_every_study_has_a_study_and_a_smoke_variant():
    assert sorted(CAMPAIGNS + SCRIPTS) == sorted(STUDIES)
    for name in STUDIES:
        suffix = "yaml" if name in CAMPAIGNS else "sh"
        smoke = WORKFLOWS / name / f"smoke.{suffix}"
        assert smoke.read_text().startswith("# ")
        main = WORKFLOWS / name / (f"{name}.yaml" if name in CAMPAIGNS else "study.sh")
        assert main.read_text().startswith("# ")


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_the_campaign_of_a_study_is_sound(name):
    """Cells are built and checked by their builders; the potential knows every element; the tasks are what is said."""
    path = WORKFLOWS / name / f"{name}.yaml"
    config = campaign.load(path)
    known = potentials.registry.entry(config.potential.name)
    cells = {structure: config.build(structure) for structure in config.structures}
    elements = {symbol for cell in cells.values() for symbol in cell.composition}
    assert known.elements == "any" or elements <= set(known.elements.replace(",", " ").split())
    tasks = expand(config, cells, {"sha256": "0" * 64, "dtype": "float32"})
    assert len(tasks) == len(cells) * len(config.temperatures_K) * len(config.seed_list)
    assert min(task.n_frames for task in tasks) >= 2000
    assert 80 <= min(map(len, cells.values())) <= max(map(len, cells.values())) <= 1000
    assert len({cell.sha256 for cell in cells.values()}) == len(cells)
    for words in in_comments(path):
        parse(words)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*/quickstart.yaml")), ids=lambda path: path.parent.name)
def test_a_quickstart_is_sound(path):
    config = campaign.load(path)
    assert all(40 <= len(config.build(structure)) < 210 for structure in config.structures)
    for words in in_comments(path):
        parse(words)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_commands_of_a_study_are_commands(name):
    verbs = [[words[0] for words in commands(WORKFLOWS / name / file)] for file in ("study.sh", "smoke.sh")]
    assert set(verbs[0]) == set(verbs[1])
    for words in [*commands(WORKFLOWS / name / "study.sh"), *in_comments(WORKFLOWS / name / "study.sh")]:
        parse(words)


def test_a_wrong_word_in_a_script_would_be_seen():
    with pytest.raises(Exception, match="No such option"):
        parse(["reactivity", "--pairs", "Na", "NZSP", "-o", "x"])


# --- smoke --------------------------------------------------------------------------------------------------------


def smoke(name, out):
    assert command(["campaign", "run", str(WORKFLOWS / name / "smoke.yaml"), "-o", str(out)]) == 0
    found = status(out)
    assert set(found.counts) == {"done"}
    return sorted((out / "runs").iterdir())


class InThisProcess:
    """A worker that does its work when it is started, here: what a worker is by itself, test_campaign shows."""

    stdin = None

    def __init__(self, command, **_):
        assert command[1:3] == ["-m", "atomflow.campaign.worker"]
        self._code = worker.main(command[3:])

    def poll(self):
        return self._code


@pytest.fixture
def here(monkeypatch):
    """Workers without processes, each of which would load torch and the model's package anew."""
    monkeypatch.setattr(workers.subprocess, "Popen", InThisProcess)


def analyzed(capsys, *words):
    capsys.readouterr()
    assert command(["analyze", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_glass(here, tmp_path, capsys):
    out = tmp_path / "out"
    runs = smoke("glass", out)
    assert len(runs) == 2
    start, quenched = read_cell(out / "cells" / "glass.extxyz"), read_cell(out / "prepare" / "glass")
    np.testing.assert_allclose(start.positions_A, quenched.positions_A, atol=1e-8)
    assert start.composition == {"Na": 2, "Zn": 2, "B": 6, "O": 12}
    assert analyzed(capsys, out)["kind"] == "campaign"
    assert command(["order", str(out / "prepare" / "glass"), "--glass"]) == 0
    assert "Zn" in capsys.readouterr().out


def test_boundary(here, tmp_path, capsys):
    (run,) = smoke("boundary", tmp_path / "out")
    for place in (run, run.parent.parent):
        found = analyzed(capsys, place, "--by", "region", "--along", "z")
        assert {"grain_a", "boundary", "grain_b"} <= set(json.dumps(found).replace('"', " ").split())


@pytest.mark.slow
def test_sealed(tmp_path, capsys):
    out = tmp_path / "out"
    (run,) = smoke("sealed", out)
    about = json.loads((out / "cells" / "sealed.json").read_text())
    assert set(about["quench"]["summary"]["held_regions"]) == {"grain_a", "grain_b"}
    assert about["result"]["steps"] <= 3
    assert set(open_run(run).regions) == {"grain_a", "grain_b", "glass"}
    found = analyzed(capsys, run, "--by", "region", "--along", "z")
    assert "glass" in json.dumps(found)


@pytest.mark.slow
def test_contact(tmp_path, capsys):
    (run,) = smoke("contact", tmp_path / "out")
    found = analyzed(capsys, run, "--by", "region", "--along", "z")
    assert "metal" in json.dumps(found)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    script = WORKFLOWS / name / "smoke.sh"
    Path("runs", f"{name}-smoke").mkdir(parents=True)
    for words in commands(script):
        assert command(words) == 0
    assert len(list(Path("runs").rglob("*.png"))) >= (2 if name == "phonon" else 1)


def test_smoke_and_study_ask_for_the_same_things():
    """A smoke variant that drifts from its study tests nothing: same builders, same keys of the quench."""
    for name in CAMPAIGNS:
        if name == "bulk":  # its smoke variant is a toy by design
            continue
        files = (WORKFLOWS / name / f"{name}.yaml", WORKFLOWS / name / "smoke.yaml")
        study, small = (yaml.safe_load(file.read_text()) for file in files)
        builders = {one["builder"] for one in study["structures"].values()}
        assert {one["builder"] for one in small["structures"].values()} <= builders
        assert any("quench" in one for one in small["structures"].values()) == any(
            "quench" in one for one in study["structures"].values())
        assert MDConfig(**small["md"], temperature_K=300).total_steps <= 40
