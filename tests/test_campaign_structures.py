"""Structures of a campaign by every builder, and the quench that some go through once before their runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from md_toys import argon

from atomflow import campaign
from atomflow.build.boundary import build_boundary
from atomflow.build.contact import build_contact
from atomflow.build.glass import build_glass
from atomflow.build.phases import build_phase
from atomflow.build.sealed import build_sealed
from atomflow.campaign.state import status
from atomflow.campaign.structures import BUILDERS, build_structure, check_structure
from atomflow.campaign.tasks import expand
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.runs import open_run

IDENTITY = {"sha256": "a" * 64, "dtype": "float64"}
GB = {"builder": "boundary", "plane": [1, 1, 0], "grain_thickness": 9}
QUENCH = {"melt_temperature_K": 300, "start_ps": 0.1, "melt_ps": 0.1, "rate_K_per_ps": 2000, "step_K": 100,
          "anneal_temperature_K": 60, "anneal_ps": 0.1, "end_temperature_K": 20, "settle_ps": 0.1, "timestep_fs": 2,
          "frame_interval_fs": 20, "checkpoint_interval_ps": 0.04, "barostat_time_fs": 200,
          "thermostat_time_fs": 20}  # fmt: skip


def boundary():
    return build_boundary((1, 1, 0), grain_thickness=9.0)


@pytest.mark.parametrize(("given", "build"), [
    ({"builder": "glass", "units": 2, "na": 0.5, "seed": 3}, lambda: build_glass(2, 0.5, seed=3)),
    ({"builder": "phase", "name": "ZrO2", "supercell": [2, 1, 1]}, lambda: build_phase("ZrO2", (2, 1, 1))),
    (GB, boundary),
    ({"builder": "sealed", "boundary": GB, "film": 6, "na_uptake": 0.5, "seed": 2},
     lambda: build_sealed(boundary(), film=6.0, na_uptake=0.5, seed=2)),
    ({"builder": "sealed", "boundary": GB, "x": 0.2, "grain_size_um": 0.014, "glass": {"builder": "glass", "units": 2,
                                                                                   "density": 3.0}},
     lambda: build_sealed(boundary(), build_glass(2, density=3.0), x=0.2, grain_size_um=0.014)),
    ({"builder": "contact", "thickness": 6, "metal_thickness": 6}, lambda: build_contact(thickness=6.0,
                                                                                         metal_thickness=6.0)),
    ({"builder": "contact", "on": {"builder": "glass", "units": 2}, "max_strain": 0.1},
     lambda: build_contact(build_glass(2), max_strain=0.1)),
], ids=["glass", "phase", "boundary", "sealed", "sealed by x", "contact", "contact on glass"])  # fmt: skip
def test_a_campaign_builds_what_the_builder_builds(tmp_path, given, build):
    check_structure(given, "here")
    built = build_structure(given, tmp_path, "here")
    assert built.sha256 == build().sha256


def test_every_builder_is_in_the_reference():
    text = (Path(__file__).parent.parent / "docs" / "campaign.md").read_text(encoding="utf-8")
    assert not [name for name in BUILDERS if f"`{name}`" not in text]


WRONG = {
    "glas": ({"builder": "glas"}, "there is no builder 'glas'; did you mean 'glass'"),
    "both": ({"builder": "glass", "file": "x"}, "give either builder"),
    "unknown key": ({"builder": "glass", "unit": 8}, "unknown key 'unit'; did you mean 'units'"),
    "value": ({"builder": "boundary", "plane": [1, 1]}, "'plane"),
    "kind": ({"builder": "boundary", "plane": [1, 1, 0], "kind": "twin"}, "'kind'"),
    "no boundary": ({"builder": "sealed", "film": 8}, "the key 'boundary' is missing"),
    "boundary by name": ({"builder": "sealed", "boundary": "gb"}, r"a\.boundary: give either builder"),
    "inside": ({"builder": "sealed", "boundary": {**GB, "planes": 1}}, r"a\.boundary: unknown key 'planes'"),
    "quench": ({"builder": "glass", "quench": {"rate": 10}}, r"a\.quench: unknown key 'rate'"),
    "quench value": ({"builder": "glass", "quench": {"melt_ps": -1}}, r"a\.quench: 'melt_ps'"),
    "quench of a part": ({"builder": "contact", "on": {"builder": "glass", "quench": {}}}, r"a\.on\.quench"),
    "none": ({"builder": None}, "there is no builder 'None'"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_structure_is_one_line(tmp_path, given, message):
    with pytest.raises(InputError, match=message) as error:
        campaign.load(campaign_file(tmp_path, {"a": given}))
    assert "\n" not in str(error.value)


def test_what_cannot_be_built_names_the_structure(tmp_path):
    for given, message in (({"builder": "boundary", "plane": [0, 0, 0]}, "structures.a: "),
                           ({"builder": "sealed", "boundary": GB, "film": 8, "x": 0.2}, "not both")):
        config = campaign.load(campaign_file(tmp_path, {"a": given}))
        with pytest.raises(InputError, match=message):
            config.build("a")


# --- quench -----------------------------------------------------------------------------------------------------------


def campaign_file(folder, structures, **changes):
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump({
        "name": "prepared", "structures": structures, "relax": "none", "temperatures_K": [30], "seeds": 1,
        "potential": {"name": "lennard-jones-argon", "dtype": "float64", "device": "cpu"},
        "md": {"time_ps": 0.2, "timestep_fs": 5.0, "thermo_interval_fs": 20.0, "checkpoint_interval_ps": 0.1},
        **changes}))  # fmt: skip
    return path


def toys(folder):
    """Argon to be melted, and argon of which only the middle may melt."""
    melt = argon(2, 5.5, rattle=0.1)
    height = melt.fractional[:, 2] % 1.0
    regions = np.select([height < 0.2, height < 0.7], ["grain_a", "glass"], "grain_b")
    write_cell(Cell(melt.numbers, melt.positions_A, melt.lattice_A, ["glass"] * len(melt)), folder / "melt.extxyz")
    write_cell(Cell(melt.numbers, melt.positions_A, melt.lattice_A, regions), folder / "film.extxyz")
    return {"glass": {"file": "melt.extxyz", "quench": QUENCH}, "film": {"file": "film.extxyz", "quench": QUENCH},
            "plain": {"file": "melt.extxyz"}}  # fmt: skip


def test_a_quench_belongs_to_the_key_and_a_structure_without_one_keeps_its_own(tmp_path):
    structures = toys(tmp_path)

    def keys(**changes):
        given = {name: {**one, "quench": {**QUENCH, **changes}} if "quench" in one else one
                 for name, one in structures.items()}
        config = campaign.load(campaign_file(tmp_path, given))
        return {task.structure: task.key for task in
                expand(config, {name: config.build(name) for name in config.structures}, IDENTITY)}

    before, after = keys(), keys(seed=2)
    assert before["plain"] == after["plain"]
    assert before["glass"] != after["glass"]
    assert before["glass"] != before["plain"]


def test_structures_are_quenched_once_before_their_runs(tmp_path, capsys):
    together = {"relax": "positions", "relax_max_steps": 20, "seeds": 2, "resources": {"packing": 8, "processes": 1}}
    structures = {name: one for name, one in toys(tmp_path).items() if "quench" in one}
    path = campaign_file(tmp_path, structures, **together)
    plan = campaign.plan(campaign.load(path))
    assert set(plan.quench_hours) == {"glass", "film"}
    assert "melted and quenched" in plan.text()
    out = tmp_path / "out"
    assert command(["campaign", "run", str(path), "-o", str(out)]) == 0
    assert status(out).counts == {"done": 4}
    for name in ("glass", "film"):
        quenched = read_cell(out / "prepare" / name)
        about = json.loads((out / "cells" / f"{name}.json").read_text())
        assert about["quench"]["summary"]["rate_K_per_ps"] > 0
        start = read_cell(out / "cells" / f"{name}.extxyz")
        assert start.volume_A3 == pytest.approx(quenched.volume_A3)
        run = next(out.glob(f"runs/{name}-30K-s2-*"))
        np.testing.assert_array_equal(open_run(run).initial_cell().positions_A, start.positions_A)
        assert open_run(run).initial_cell().regions.tolist() == start.regions.tolist()
    about = json.loads((out / "cells" / "film.json").read_text())
    assert about["quench"]["summary"]["held_regions"] == ["grain_a", "grain_b"]
    before = (out / "prepare" / "glass" / "quench.json").stat().st_mtime_ns
    assert command(["campaign", "run", str(path), "-o", str(out)]) == 0
    assert (out / "prepare" / "glass" / "quench.json").stat().st_mtime_ns == before
    path = campaign_file(tmp_path, {**structures, "glass": {"file": "melt.extxyz", "quench": {**QUENCH, "seed": 5}}},
                         **together)
    capsys.readouterr()
    assert command(["campaign", "run", str(path), "-o", str(out)]) == 2
    assert "structures.glass.quench.seed: not given → 5" in capsys.readouterr().err


@pytest.mark.slow
def test_a_quench_survives_kills_to_the_bit(tmp_path):
    """A driver stopped and killed in the midst of the melt: the same glass as without."""
    slow = {**QUENCH, "melt_ps": 3.0, "checkpoint_interval_ps": 0.1}
    toys(tmp_path)
    path = campaign_file(tmp_path, {"glass": {"file": "melt.extxyz", "quench": slow}})
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert command(["campaign", "run", str(path), "-o", str(calm)]) == 0
    seen = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        driver = subprocess.Popen([sys.executable, "-m", "atomflow.cli.main", "campaign", "run", str(path), "-o",
                                   str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while "quenching" not in str(words := status(killed).relaxing if (killed / "campaign.json").exists() else ""):
            assert time.monotonic() < deadline
            if driver.poll() is not None:
                break
            time.sleep(0.05)
        seen |= set(dict(words).values()) if words else set()
        os.kill(driver.pid, number)
        driver.wait()
    assert any("quenching" in text for text in seen)
    assert command(["campaign", "run", str(path), "-o", str(killed)]) == 0
    np.testing.assert_array_equal(read_cell(killed / "cells" / "glass.extxyz").positions_A,
                                  read_cell(calm / "cells" / "glass.extxyz").positions_A)
