"""The command line as a whole: one name for one thing, help with an example, a nearest name for a mistyped one."""

import importlib
import json
import os
import re
import subprocess
import sys

import pytest
import typer

from atomflow.cell import read_cell
from atomflow.cli.main import VERBS, run

#: one short name, one long name, wherever they stand
NAMES = {"-o": "--out", "-p": "--potential", "-T": "--temperature"}


def commands():
    """Every command of every verb with its words, as click has it."""
    for verb in VERBS:
        command = typer.main.get_command(importlib.import_module(f"atomflow.cli.{verb}").app)
        under = getattr(command, "commands", None)
        yield from [(verb, command)] if under is None else [(f"{verb} {name}", each) for name, each in under.items()]


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_an_example_that_names_the_command(words):
    text = COMMANDS[words].help
    example = text[text.index("Example:"):]
    spoken = words.removesuffix(" run") if words == "export run" else words  # the run is what export takes by default
    assert f"atomflow {spoken} " in example or example.endswith(f"atomflow {spoken}")
    assert text.splitlines()[0].strip()


@pytest.mark.parametrize("words", COMMANDS)
def test_options_are_explained_and_named_alike(words):
    options = [each for each in COMMANDS[words].params if each.name != "help"]
    assert [each.name for each in options if not getattr(each, "help", None)] == []
    for each in options:
        for short, long in NAMES.items():
            assert (short in each.opts) == (long in each.opts), each.opts
        assert not any(re.search("[A-Z_]", name) for name in each.opts if name.startswith("--") and
                       name not in ("--pressure-GPa", "--rate-K-per-ps"))
    assert "--json" in [name for each in options for name in each.opts]


def test_examples_use_options_that_exist():
    for words, command in COMMANDS.items():
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        lines = [line for line in command.help.splitlines() if f"atomflow {words} " in f"{line} "]
        used = {word.partition("=")[0] for line in lines for word in line.split("#")[0].split("atomflow")[1].split()
                if re.match("--?[a-zA-Z]", word)}
        assert used <= known, words


@pytest.mark.parametrize(("typed", "told"), [
    ("campaign satus x", "no command 'satus' under atomflow campaign; did you mean 'status'?"),
    ("paper shwo x", "did you mean 'show'?"),
    ("interface zzz", "under atomflow interface: search, energy, adhesion, compare-dft"),
    ("quenhc", "did you mean 'quench'?"),
])
def test_a_mistyped_command_is_told_the_nearest(typed, told, capsys):
    assert run(typed.split()) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_the_former_name_of_out_is_still_read(tmp_path, capsys):
    for index, words in enumerate((["--output", str(tmp_path / "0.extxyz")], [f"--output={tmp_path / '1.extxyz'}"])):
        assert run(["build", "phase", "Na", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / f"{index}.extxyz")


@pytest.mark.parametrize("out", ["relaxed.foo", "nowhere/relaxed.extxyz", "."])
def test_where_a_cell_cannot_go_is_told_before_anything_is_computed(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["build", "phase", "Na", "-o", "na.extxyz"]) == 0
    capsys.readouterr()
    assert run(["relax", "na.extxyz", "-p", "no-such-potential", "-o", out]) == 2
    told = capsys.readouterr().err
    assert "cannot write" in told or "does not exist; make it first" in told


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    assert run(["build", "phase", "Na", "-o", str(tmp_path / "na.extxyz")]) == 0
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # for root every folder is open
    capsys.readouterr()
    assert run(["relax", str(tmp_path / "na.extxyz"), "-p", "no-such-potential", "-o", str(tmp_path / "y.extxyz")]) == 2
    assert "cannot be written to (read-only, or not yours)" in capsys.readouterr().err


def test_a_number_of_threads_that_is_none():
    environment = {**os.environ, "OMP_NUM_THREADS": "4,2"}
    code = "from atomflow.cli.loading import set_threads; set_threads(None)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "OMP_NUM_THREADS=4,2 is not one number" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("written", [["2", "1", "1"], ["2,1,1"], ["2x1x1"]])
def test_repeats_are_written_in_any_of_three_ways(written, tmp_path, capsys):
    out = tmp_path / "cell.extxyz"
    assert run(["build", "phase", "NVCP", "--supercell", *written, "-o", str(out), "--json"]) == 0
    assert read_cell(out).provenance["parameters"]["supercell"] == [2, 1, 1]
