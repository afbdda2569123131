"""Relaxations as sources of frames: they fall from a packing to where relax ends, and are taken evenly on the way."""

import itertools

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from atomflow import md, potentials
from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.config import parse
from atomflow.distill.config import SampleConfig
from atomflow.distill.sample import _how_far, sample
from atomflow.distill.sources import relaxing
from atomflow.errors import InputError

CROWDED = {"kind": "packings", "systems": 2, "family": "toy", "units": {"ZnO": [4, 5]},
           "density_g_per_cm3": [0.5, 0.6], "floor": [0.9, 0.9]}
RELAXING = {"kind": "relaxing", "potential": "lennard-jones-argon", "start": CROWDED, "frames": 6, "max_steps": 60,
            "fmax_eV_per_A": 0.01, "largest_force_eV_per_A": 1e9}


def sampled(source):
    return sample(parse(SampleConfig, {"name": "toy", "sources": [source]}))


def energy_and_fmax(frame, potential):
    atoms = frame.to_ase()
    atoms.calc = potential.calculator()
    return atoms.get_potential_energy(), np.linalg.norm(atoms.get_forces(), axis=1).max()


def by_system(frames):
    return [list(way) for _, way in itertools.groupby(frames, lambda frame: frame.system)]


def test_a_relaxation_is_taken_evenly_from_the_packing_to_where_relax_ends():
    argon = potentials.load("lennard-jones-argon", device="cpu")
    for packing, way in zip(sampled(CROWDED), by_system(sampled(RELAXING)), strict=True):
        assert 3 <= len(way) <= 6
        assert {(f.system, f.family, f.how, f.split) for f in way} == {(packing.system, "toy", "relax", packing.split)}
        np.testing.assert_array_equal(way[0].positions_A, packing.positions_A)
        energies, fmax = np.array([energy_and_fmax(frame, argon) for frame in way]).T
        assert (np.diff(energies) < 0).all()
        assert fmax[-1] < 0.1 * fmax[0]
        start = Cell(packing.numbers, packing.positions_A, packing.lattice_A)
        rest, _ = md.relax(start, argon, fmax_eV_per_A=0.01, max_steps=60)
        np.testing.assert_array_equal(way[-1].positions_A, rest.positions_A)


@pytest.mark.parametrize("even_in", ["energy", "force"])
def test_even_parts_of_the_fall(even_in):
    values = np.array([0.0, -4.0, -6.0, -5.5, -7.0, -7.9, -8.0])
    assert relaxing.evenly_fallen(values, 3) == [0, 1, 6]
    assert relaxing.evenly_fallen(values, 5) == [0, 1, 2, 6]  # two even parts in the one first step
    assert relaxing.evenly_fallen(values[:1], 4) == [0]
    assert relaxing.evenly_fallen(values[:0], 4) == []
    ways = [f for f in sampled({**RELAXING, "even_in": even_in, "frames": 4}) if f.system.endswith("packing-0")]
    argon = potentials.load("lennard-jones-argon", device="cpu")
    every = [np.array(energy_and_fmax(frame, argon)) for frame in ways]
    falls = np.array([energy if even_in == "energy" else np.log(fmax) for energy, fmax in every])
    parts = (falls[0] - falls[:-1]) / (falls[0] - falls[-1])
    assert (parts >= np.linspace(0, 1, 4)[:-1] - 1e-9).all()


def test_frames_beyond_the_largest_force_are_passed_over():
    argon = potentials.load("lennard-jones-argon", device="cpu")
    largest = energy_and_fmax(sampled(RELAXING)[0], argon)[1] / 5
    frames = sampled({**RELAXING, "largest_force_eV_per_A": largest})
    assert frames
    assert max(energy_and_fmax(frame, argon)[1] for frame in frames) <= largest * (1 + 1e-12)


def test_a_relaxation_that_falls_into_a_hole_ends_before_it():
    class Hole(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            apart = atoms.positions[1] - atoms.positions[0]
            distance = np.linalg.norm(apart)
            pull = apart / distance * (5.0 + 0.1 * distance)
            self.results = {"energy": 5.0 * distance + 0.05 * distance**2, "forces": np.array([pull, -pull])}

    import ase

    atoms = ase.Atoms("O2", positions=[[0, 0, 0], [3.0, 0, 0]], cell=[9, 9, 9], pbc=True)
    atoms.calc = Hole()
    way = list(relaxing.relaxation(atoms, 0.1, 200))
    distances = [float(np.linalg.norm(moment.positions_A[1] - moment.positions_A[0])) for moment in way]
    assert distances[0] == 3.0
    assert max(-np.diff(distances)) <= 0.1 + 1e-9  # 0.05 Å an atom, as no force is below 2 eV/Å
    assert 1.2 < distances[-1] < 1.5


def test_every_frame_may_be_followed_by_a_copy_out_of_place():
    change = {"volume": 0.05, "shear": 0.0, "framework_A": [0.05, 0.05], "mobile_A": [0.05, 0.05]}
    frames, alone = sampled({**RELAXING, "rattled": change}), sampled(RELAXING)
    fewer = sampled({**RELAXING, "rattled": change, "rattled_every": 2})
    assert [f.how for f in frames] == ["relax", "rattle"] * len(alone)
    assert [f.how for f in fewer][:6] == ["relax", "relax", "rattle"] * 2
    for frame, copy, same in zip(frames[::2], frames[1::2], alone, strict=True):
        np.testing.assert_array_equal(frame.positions_A, same.positions_A)
        assert copy.system == frame.system
        assert 1e-4 < abs(copy.volume_A3 / frame.volume_A3 - 1) <= 0.05 + 1e-9

@pytest.mark.parametrize(("change", "words"), [
    ({"frames": 1}, "frames"), ({"even_in": "time"}, "even_in"), ({"fmax_eV_per_A": 0}, "fmax_eV_per_A"),
    ({"steps": 5}, "unknown key"), ({"potential": "no-such-student"}, "no-such-student"),
    ({"start": {**CROWDED, "units": {"MgO": [1, 1]}}}, "MgO"),
])
def test_relaxations_that_cannot_be_are_one_clear_line(change, words):
    with pytest.raises(InputError, match=words) as error:
        sampled({**RELAXING, **change})
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_zinc_borate_packings_come_to_rest_with_the_shipped_student():
    glass = {"kind": "built", "builder": "glass", "systems": 2, "options": {"units": [2], "na": [0, 1]}}
    student = potentials.load("atomflow-nzsp-zbo", device="cpu")
    for way in by_system(sampled({"kind": "relaxing", "potential": "atomflow-nzsp-zbo", "start": glass})):
        energies, fmax = np.array([energy_and_fmax(frame, student) for frame in way]).T
        assert fmax[0] > 5
        assert fmax[-1] < fmax[0] / 5
        assert (np.diff(energies) < 0).all()
        parts = (energies[0] - energies) / (energies[0] - energies[-1])
        assert np.diff(parts).max() < 0.35


def test_what_is_left_is_said_of_the_source_that_runs():
    assert _how_far(0, 4, 1, 30.0).startswith("0 of 4 systems, 1 frames; it can be said after the first")
    assert _how_far(2, 6, 10, 60.0) == "2 of 6 systems, 10 frames, 2.0 min left of this source if all are alike"


def test_a_key_of_another_kind_of_source_is_no_hint_for_this_kind(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    path.write_text("name: a\nseed: 1\nsources:\n  - {kind: relaxing, systems: 1, potential: atomflow-nzsp-0}\n")
    assert run(["potential", "sample", str(path), "-o", str(tmp_path / "pool")]) == 2
    said = capsys.readouterr().err
    assert "unknown key 'sources.0.relaxing.systems'" in said
    assert "did you mean 'systems'" not in said
