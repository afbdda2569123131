"""What a notebook shows of a result: the number, its potential and its cell in a few lines, no wall of fields."""

import copy
import json

import numpy as np
import pytest
from md_toys import argon, lennard_jones
from test_quench import config as quench_config

from atomflow import impedance, lattice, md, order, potentials, quench, runs, transport
from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.interfaces.comparison import Comparison, Row
from atomflow.interfaces.energy import InterfaceEnergy
from atomflow.interfaces.separation import Adhesion
from atomflow.interfaces.translation import SearchResult
from atomflow.plain import named

IDENTITY = {"name": "toy", "sha256": "0123456789abcdef", "dtype": "float64"}
SALT = Cell([11, 17], [[0, 0, 0], [2.8, 2.8, 2.8]], np.eye(3) * 5.6)


def hop() -> lattice.HopResult:
    return lattice.HopResult(("mid", "Na2"), 3, 4.02, 4.0, 2, True, 0.154, 0.265, np.array([0, 0.1, 0.154, 0.1, 0]),
                             np.linspace(0, 4, 5), True, 2.4, 30, ({"temperature_K": 300.0, "rate_per_ps": 1e-3,
                             "diffusivity_cm2_per_s": 2e-9},), IDENTITY, (SALT,), ())  # fmt: skip


def search() -> SearchResult:
    finalists = tuple({"translations_A": [(0.0, shift)], "energy_eV": -9.0 + shift, "converged": True, "problems": [],
                       "fmax_eV_per_A": 0.01} for shift in (0.0, 0.5))
    return SearchResult(SALT, SALT, -9.0, finalists, 20, 8, True, 2, 31.4, IDENTITY, 1.0)


RESULTS = {
    "hop": (hop(), ["mid → Na2 in NaCl", "0.154 eV", "toy (0123456789ab, float64)", "no interval"]),
    "network": (lattice.NetworkResult("vacancy", 12, 48, {"mid": 0.0}, 1 / 3, (), (), 0.03), ["12 sites", "± 0.03 eV"]),
    "energy": (InterfaceEnergy("boundary", 2, 0.12, 0.0075, 0.1, 31.4, 2, (13.0,), "none", "its crystal", True,
                               IDENTITY, (), SALT, 0.13),
               ["boundary energy 0.1200 J/m²", "differs by 0.0100", "NaCl", "toy"]),
    "adhesion": (Adhesion({"metal": 1, "solid": 1}, 2, 31.4, 0.05, None, 12.0, "apart", 0.0, True, IDENTITY, (), SALT),
                 ["rigid parts 0.8011 J/m²", "not asked for", "metal 1 atoms", "toy"]),
    "search": (search(), ["-9.000 eV in NaCl", "20 translations", "toy"]),
    "comparison": (Comparison((Row("boundary", (1, 1, 0), 0.12, 0.14, None, None, 0.1, 160, True, ()),), None, None,
                              0.02, None, None, False, 540.0, 543.0, IDENTITY, "Xie"),
                   ["1 1 0", "+0.020", "-0.6 %", "toy"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_a_few_lines_with_its_potential(kind):
    result, words = RESULTS[kind]
    assert all(word in str(result) for word in words), str(result)
    assert len(str(result).splitlines()) <= 8
    assert len(repr(result)) < 260
    assert "\n" not in repr(result)
    assert "array(" not in repr(result)


def test_a_relaxation_and_its_potential_are_shown_in_a_few_lines():
    potential = potentials.load("lennard-jones-argon", device="cpu", dtype="float64")
    _, result = md.relax(argon(1, 5.3, rattle=0.05), potential, cell_too=True)
    assert repr(result) == f"<RelaxResult: converged in {result.steps} steps (atoms and cell)>"
    assert f"→ {result.volume_after_A3:.3f} Å³" in str(result)
    assert repr(potential) == (f"<LennardJones lennard-jones-argon ({potential.identity.sha256[:12]}, float64) on cpu: "
                               "any element; cutoff 8.5 Å>")
    learned = potentials.load("atomflow-nzsp-0", device="cpu")
    assert len(repr(learned)) < 200
    assert "Zr (not validated: " in repr(learned)


def test_a_run_is_a_few_lines_and_still_its_manifest(tmp_path):
    result = md.run(argon(1, 5.3), lennard_jones(), md.MDConfig(temperature_K=40, time_ps=0.4), tmp_path / "run")
    lines = str(result).splitlines()
    sha = result["potential"]["sha256"][:12]
    assert lines[0] == f"done: 21 frames, 0.4 ps of Ar4 at 40 K with lennard-jones-argon ({sha}, float64)"
    assert lines[1].startswith("temperature: ")
    assert " ± " in lines[1]
    assert f"folder: {tmp_path / 'run'}" in lines
    assert repr(result) == f"<RunResult: {lines[0]}>"
    assert len(lines) <= 9
    assert result.open().n_frames == 21
    assert result.summary is result["summary"]
    plain = json.loads((tmp_path / "run" / "run.json").read_text())
    assert dict(result) == plain == json.loads(json.dumps(result)) == runs.open_run(result.folder).manifest
    assert copy.deepcopy(result).folder == result.folder
    assert md.resume(result).text() == result.text()
    assert runs.open_run(result).n_frames == runs.open_trajectory(result).n_frames == 21
    assert order.measure(result, pairs=["Ar-Ar"]).to_json()
    assert transport.analyze(result, species="Ar").n_frames == 21
    with pytest.raises(InputError, match=r"auto, cell, none or elements like \['Zr', 'P'\], not 3"):
        transport.analyze(result, species="Ar", framework=3)
    result.warnings.extend(f"word {k}" for k in range(5))
    assert str(result).splitlines()[-2:] == ["warning: word 2", "and 2 more warnings, in ['warnings']"]


def test_a_quench_is_a_few_lines_and_still_its_manifest(tmp_path):
    result = quench.run(argon(1, 5.5, rattle=0.1), lennard_jones(cutoff_A=5.0), quench_config(), tmp_path / "glass")
    lines = str(result).splitlines()
    assert lines[0].startswith("done:         Ar4 with lennard-jones-argon (")
    assert f"folder: {tmp_path / 'glass'}" in lines
    assert len(lines) <= 10
    assert result == json.loads((tmp_path / "glass" / "quench.json").read_text())
    assert quench.resume(tmp_path / "glass").text() == result.text()
    assert order.measure(result, pairs=["Ar-Ar"]).to_json()
    assert result.acceptance == ""  # argon is no zinc borate


def test_a_spectrum_and_an_acceptance_are_a_few_lines():
    ceramic = impedance.Microstructure(impedance.Layer(1e-3), impedance.Layer(2e-6), boundary_nm=1.6)
    found = impedance.spectrum(ceramic, 0.1)
    assert repr(found).startswith(f"<Spectrum: {found.total_ohm_cm2:.4g} Ω cm² in 2 arcs")
    assert "boundary: " in str(found)
    line = order.glass.Line(order.glass.targets()[0], Estimate(2.8, 2.7, 2.9), "pass", "", (2.6, 3.3))
    judged = order.Acceptance((line,), 1)
    assert repr(judged) == "<Acceptance: not accepted: 1 replica of the 3 asked for>"
    assert "density" in str(judged)


def test_phonons_are_a_few_lines():
    one = {"frequency_THz": np.zeros(3), "states_per_THz": np.zeros(3)}
    found = lattice.PhononResult("Ar4", IDENTITY, (2, 2, 2), 6, 1, 0.001, np.array([0, 0, 0.01, 2.0]), (), one, (),
                                 (5, 5, 5), 300.0, 0.01, 0.02, 24.0, ())
    assert repr(found) == ("<PhononResult: Ar4: no imaginary modes; at Γ the acoustic ones are 0.010 THz, the highest "
                           "2.00 THz>")
    assert "2x2x2" in str(found)
    assert len(str(found).splitlines()) == 3


def test_a_potential_is_named_by_what_is_known_of_it():
    assert named(None) == "an unknown potential"
    assert named({"name": "x"}) == "x"
    assert named(IDENTITY) == "toy (0123456789ab, float64)"
