"""Public functions given what a notebook's user gives by mistake: one line that says what is wanted."""

import ase.build
import numpy as np
import pytest
from md_toys import argon

from atomflow import (
    campaign,
    compare,
    impedance,
    interfaces,
    lattice,
    md,
    order,
    paper,
    potentials,
    quench,
    reactivity,
    report,
    runs,
    transport,
)
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.errors import InputError

ATOMS = ase.build.bulk("Ar", cubic=True, a=5.3)
CELL = argon(1)
CONFIG = md.MDConfig(temperature_K=40, time_ps=0.02)
SETTINGS = {"temperature_K": 40, "time_ps": 0.02}


def lj():
    return potentials.load("lennard-jones-argon", device="cpu")


MISTAKES = [
    # a file, ASE atoms, both results of relax where a cell is wanted
    (lambda p, d: md.run("cell.extxyz", p, CONFIG, d / "x"), r"a Cell is wanted, not 'cell.extxyz'; .*read_cell\('"),
    (lambda p, d: md.run(ATOMS, p, CONFIG, d / "x"), r"not an Atoms; Cell.from_ase\(...\) makes one"),
    (lambda p, d: md.run(md.relax(CELL, p), p, CONFIG, d / "x"), r"not a tuple; its first item is one"),
    (lambda p, d: md.relax(ATOMS, p), "a Cell is wanted, not an Atoms"),
    (lambda p, d: write_cell(ATOMS, d / "x.extxyz"), "a Cell is wanted, not an Atoms"),
    (lambda p, d: read_cell(ATOMS), r"read_cell reads a file, not an Atoms; Cell.from_ase\(...\) makes"),
    (lambda p, d: Cell.from_ase(CELL.to_pymatgen()), r"not a Structure; Cell.from_pymatgen\(...\) makes one of it"),
    (lambda p, d: Cell.from_pymatgen(ATOMS), r"takes a Structure, not an Atoms; Cell.from_ase\(...\) makes one of it"),
    (lambda p, d: Cell.from_ase("cell.cif"), "takes ASE atoms, not 'cell.cif'"),
    (lambda p, d: Cell(["Ar"], [[0, 0, 0]], np.eye(3) * 5), "needs atomic numbers, like 11 for Na"),
    (lambda p, d: Cell(ATOMS), r"numbers, positions_A and lattice_A; Cell.from_ase\(...\) makes one of it"),
    (lambda p, d: Cell(CELL.to_pymatgen()), r"lattice_A; Cell.from_pymatgen\(...\) makes one of it"),
    (lambda p, d: Cell("cell.cif"), r"lattice_A; atomflow.cell.read_cell\('cell.cif'\) reads one"),
    (lambda p, d: Cell([18], [[0, 0, 0]]), "needs atomic numbers, positions_A and lattice_A$"),
    (lambda p, d: lattice.phonons("cell.extxyz", p), "a Cell is wanted"),
    (lambda p, d: lattice.hop(None, p, "mid", "Na2"), "a Cell is wanted, not None"),
    (lambda p, d: interfaces.search("gb.extxyz", p, d / "x"), "a Cell is wanted"),
    (lambda p, d: interfaces.boundary_energy("gb.extxyz", p), "a Cell is wanted"),
    (lambda p, d: interfaces.surface_energy("slab.extxyz", p), "a Cell is wanted"),
    (lambda p, d: interfaces.adhesion("contact.extxyz", p), "a Cell is wanted"),
    (lambda p, d: quench.run("melt.extxyz", p, quench.QuenchConfig(seed=1), d / "x"), "a Cell is wanted"),
    # a name where a loaded potential is wanted; anything but a name where one is loaded
    (lambda p, d: md.run(CELL, "chgnet", CONFIG, d / "x"), r"loaded potential is wanted, not 'chgnet'; .*load\('"),
    (lambda p, d: md.relax(CELL, "chgnet"), "a loaded potential is wanted"),
    (lambda p, d: md.run(p, CELL, CONFIG, d / "x"), "a loaded potential is wanted, not a Cell"),
    (lambda p, d: lattice.phonons(CELL, "chgnet"), "a loaded potential is wanted"),
    (lambda p, d: interfaces.compare_dft("chgnet", d / "x"), "a loaded potential is wanted"),
    (lambda p, d: reactivity.study("chgnet", d / "x"), r"like \[potential\], not 'chgnet'"),
    (lambda p, d: reactivity.study(["chgnet"], d / "x"), "a loaded potential is wanted"),
    (lambda p, d: reactivity.study([p], d / "x", pairs=["Na|NZSP"]), "two materials each"),
    (lambda p, d: potentials.load(None), "by its name or file, not by None; the names: .*chgnet"),
    (lambda p, d: potentials.load(p), "not by a LennardJones"),
    (lambda p, d: potentials.load("lennard-jones-argon", device=None), "is no device; use auto, cpu or cuda"),
    # settings
    (lambda p, d: md.run(CELL, p, SETTINGS, d / "x"), r"an MDConfig is wanted, not a dict; MDConfig\(\*\*"),
    (lambda p, d: md.MDConfig(temperature_K="300 K", time_ps=1), "^MDConfig: 'temperature_K': .*found '300 K'$"),
    (lambda p, d: md.MDConfig(temperature=300, time_ps=1), "unknown key 'temperature'; did you mean 'temperature_K'"),
    (lambda p, d: md.MDConfig(300, 1), "takes its keys by name"),
    (lambda p, d: quench.QuenchConfig(temperature=3), "unknown key 'temperature'"),
    (lambda p, d: setattr(CONFIG, "temperature_K", 900), r"cannot be changed; .*config.with_\(temperature_K=900\)"),
    (lambda p, d: setattr(CONFIG, "temperature", 900), "MDConfig has no 'temperature'; did you mean 'temperature_K'"),
    (lambda p, d: CONFIG.with_(temperature=900), "^MDConfig: unknown key 'temperature'; did you mean 'temperature_K'"),
    (lambda p, d: CONFIG.with_(temperature_K=-900), "^MDConfig: 'temperature_K': .* found -900$"),
    (lambda p, d: md.run(CELL, p, CONFIG, None), "the run folder must be a path, not None"),
    (lambda p, d: md.run(CELL, p, CONFIG, d / "x", labels="grain"), "labels are a dict"),
    (lambda p, d: md.run_batch([(CELL, CONFIG, d / "x")], p), "a job is an MDJob"),
    (lambda p, d: md.relax(CELL, p, fmax_eV_per_A="0.02"), "must be a positive number, not '0.02'; leave the unit out"),
    (lambda p, d: lattice.phonons(CELL, p, temperature_K="300 K"), "temperature must be a positive number"),
    (lambda p, d: lattice.phonons(CELL, p, 2), "three repeats of at least 1, not 2"),
    (lambda p, d: lattice.hop(CELL, p, "mid", "Na2", temperatures_K=300), r"a list of temperatures, like \[300, 600\]"),
    (lambda p, d: lattice.hop(CELL, p, 3, 5), "a site is given by its kind, like 'Na2', not by 3"),
    (lambda p, d: lattice.network(CELL, 5, [300]), "hops is a list of hops"),
    # trajectories and folders
    (lambda p, d: transport.analyze(123), "123 is no trajectory"),
    (lambda p, d: transport.analyze([ATOMS] * 30), r"frames of one trajectory: runs.open_trajectory\(images"),
    (lambda p, d: runs.open_trajectory([ATOMS] * 3, 20.0, 80.0).positions_A(0, 2, "Ar"), "a mask, like run.symbols =="),
    (lambda p, d: transport.analyze("x", species=11), "the symbol of one element, like 'Na', not 11"),
    (lambda p, d: transport.analyze("x", discard_ps="2 ps"), "discard_ps is a number of ps, not '2 ps'"),
    (lambda p, d: transport.analyze("x", memory_MB="1GB"), "memory_MB must be a positive number, not '1GB'"),
    (lambda p, d: transport.analyze_campaign(None), "the folder of a campaign must be a path, not None"),
    (lambda p, d: runs.open_run(None), "a run folder must be a path, not None"),
    (lambda p, d: runs.open_trajectory(5), "a path or a list of ASE atoms, not 5"),
    (lambda p, d: runs.open_trajectory("x", temperature_K="300 K"), "a positive number, not '300 K'; leave the"),
    (lambda p, d: md.resume(None), "a run folder must be a path"),
    (lambda p, d: campaign.load({"name": "x"}), "a campaign file must be a path, not a dict"),
    (lambda p, d: campaign.plan("bulk.yaml"), r"as campaign.load\(path\) reads it, not as 'bulk.yaml'"),
    (lambda p, d: campaign.run("bulk.yaml", d / "x"), r"as campaign.load\(path\) reads it"),
    (lambda p, d: campaign.status(None), "must be a path, not None"),
    (lambda p, d: report.build(5), "must be a path, not 5"),
    (lambda p, d: impedance.ceramics(d, "700 K"), "must be a positive number, not '700 K'"),
    (lambda p, d: compare.compare(3), r"what transport.analyze_campaign\(folder\) found, not 3"),
    (lambda p, d: compare.compare("runs/nowhere"), r"runs/nowhere"),
    (lambda p, d: order.measure(None), "a cell, a trajectory or a path, not of None"),
    (lambda p, d: order.accept("run"), "accept_glass takes paths"),
    (lambda p, d: paper.get(None), "known by its id, like 'fc.Ea1', not by None"),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_a_mistake_is_one_line_that_says_what_is_wanted(number, tmp_path):
    mistake, words = MISTAKES[number]
    with pytest.raises(InputError, match=words) as caught:
        mistake(lj(), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_configuration_shows_what_differs_from_its_defaults():
    assert repr(CONFIG) == "MDConfig(temperature_K=40.0, time_ps=0.02)"
    assert repr(CONFIG.with_(seed=3, ensemble="npt")) == (
        "MDConfig(ensemble='npt', temperature_K=40.0, time_ps=0.02, seed=3)")


def test_a_configuration_with_other_values_is_another():
    warm = CONFIG.with_(temperature_K=60)
    assert (warm.temperature_K, warm.time_ps, CONFIG.temperature_K) == (60, 0.02, 40)
    assert warm == md.MDConfig(**{**SETTINGS, "temperature_K": 60})


def test_the_folder_of_a_campaign_is_no_run(tmp_path):
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(InputError, match=r"transport.analyze_campaign\('.*'\) takes it"):
        transport.analyze(tmp_path)


def test_a_lone_job_is_a_batch_of_one(tmp_path):
    [manifest] = md.run_batch(md.MDJob(CELL, CONFIG, tmp_path / "run"), lj())
    assert manifest["state"] == "done"


def test_a_campaign_result_is_compared_as_it_is(tmp_path):
    result = transport.CampaignResult("toy", [], [], [])
    assert str(compare.compare(result)) == str(compare.compare(result.to_json()))
