"""The walk through every command of the interfaces: all of them are commands, each finds what it starts from."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from test_workflows import parse

PLACE = Path(__file__).resolve().parent.parent / "workflows" / "walk.py"


@pytest.fixture(scope="module")
def walk():
    spec = importlib.util.spec_from_file_location("walk", PLACE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["walk"] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["walk"]


def test_every_step_is_a_command_and_every_file_comes_from_a_step_before(walk):
    outputs = {words[words.index("-o") + 1] for words in (step.words.split() for step in walk.STEPS) if "-o" in words}
    made = set()
    for step in walk.STEPS:
        words = step.words.format(p="atomflow-nzsp-0").split()
        parse(words)
        own = {words[words.index("-o") + 1]} if "-o" in words else set()
        rest = words[2:] if words[0] == "build" else words[1:]
        needed = {word.split("/")[0] for word in rest} & outputs - own
        assert needed <= made, step.name
        made |= own
        assert not step.figure or step.figure.split("/")[0] in own
    verbs = {step.words.split()[0] for step in walk.STEPS}
    assert verbs >= {"build", "quench", "order", "interface", "relax", "md", "analyze", "xrd", "impedance", "phonon",
                     "hop", "reactivity"}  # fmt: skip
    assert len({step.name for step in walk.STEPS}) == len(walk.STEPS)


def test_the_walk_runs_times_and_goes_on(walk, tmp_path, monkeypatch, capsys):
    argv = ["walk.py", "-o", str(tmp_path), "--only", "phase", "--only", "slab --plane"]
    monkeypatch.setattr(sys, "argv", argv)
    assert walk.main() == 0
    table = capsys.readouterr().out
    assert "| slab | `atomflow build slab" in table
    times = json.loads((tmp_path / "times.json").read_text())["steps"]
    assert set(times) == {"slab", "another phase"}
    assert all(item["cpu_s"] > 0 and item["rc"] == 0 for item in times.values())
    written = (tmp_path / "zro2.extxyz").stat().st_mtime_ns
    assert walk.main() == 0  # done: nothing is run
    assert (tmp_path / "zro2.extxyz").stat().st_mtime_ns == written
    monkeypatch.setattr(sys, "argv", [*argv, "--potential", "atomflow-nzsp-0"])
    with pytest.raises(SystemExit, match="walked with atomflow-nzsp-zbo"):
        walk.main()


def test_a_step_that_fails_stops_the_walk(walk, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["walk.py", "-o", str(tmp_path), "--only", "X-ray lines"])
    assert walk.main() == 1
    assert "X-ray lines failed" in capsys.readouterr().err
    assert "there is no" in (tmp_path / "X-ray-lines.txt").read_text()
