"""Sources that a potential moves: relaxations fall, hops hop over a barrier that is known, splits do not leak."""

import itertools

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from atomflow import md, potentials
from atomflow.cell import Cell
from atomflow.config import parse
from atomflow.distill import decorate
from atomflow.distill.config import SampleConfig
from atomflow.distill.frames import check_no_leakage, split_of
from atomflow.distill.sample import _how_far, sample
from atomflow.distill.sources import hops, relaxing
from atomflow.distill.sources.config import HopsSource
from atomflow.distill.sources.stream import Stream
from atomflow.errors import InputError

CROWDED = {"kind": "packings", "systems": 2, "family": "toy", "units": {"ZnO": [4, 5]},
           "density_g_per_cm3": [0.5, 0.6], "floor": [0.9, 0.9]}
RELAXING = {"kind": "relaxing", "potential": "lennard-jones-argon", "start": CROWDED, "frames": 6, "max_steps": 60,
            "fmax_eV_per_A": 0.01, "largest_force_eV_per_A": 1e9}
HOPS = {"kind": "hops", "potential": "wells", "systems": 2, "frameworks": ["monoclinic"], "silicon": [2, 1],
        "volume": 0.0, "shear": 0.0, "zinc_every": 0, "fmax_eV_per_A": 0.02}
QUICK = {"systems": 1, "images": 1, "max_steps": 3}
DEPTH_EV, WIDTH_A = 1.0, 1.0


def sampled(source, name="toy", seed=1, **settings):
    return sample(parse(SampleConfig, {"name": name, "seed": seed, "sources": [source], **settings}))


def energy_and_fmax(frame, potential):
    atoms = frame.to_ase()
    atoms.calc = potential.calculator()
    return atoms.get_potential_energy(), np.linalg.norm(atoms.get_forces(), axis=1).max()


def by_system(frames):
    return [list(way) for _, way in itertools.groupby(frames, lambda frame: frame.system)]


# --- relaxing ---------------------------------------------------------------------------------------------------


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
    assert [f.how for f in frames] == ["relax", "rattle"] * len(alone)
    for frame, copy, same in zip(frames[::2], frames[1::2], alone, strict=True):
        np.testing.assert_array_equal(frame.positions_A, same.positions_A)
        assert copy.system == frame.system
        assert 1e-4 < abs(copy.volume_A3 / frame.volume_A3 - 1) <= 0.05 + 1e-9


# --- hops -------------------------------------------------------------------------------------------------------


class Wells(Calculator):
    """Every Na in Gaussian wells on all Na sites of the monoclinic framework; nothing else feels anything."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        sodium = np.flatnonzero(atoms.numbers == 11)
        away = away_from_sites_A(atoms.positions[sodium], atoms.cell.array)
        wells = DEPTH_EV * np.exp(-(away**2).sum(-1) / (2 * WIDTH_A**2))
        forces = np.zeros((len(atoms), 3))
        forces[sodium] = -(wells[..., None] * away).sum(axis=(1, 2)) / WIDTH_A**2
        self.results = {"energy": -float(wells.sum()), "forces": forces}


def away_from_sites_A(positions_A, lattice_A):
    """(n, sites, 27, 3) from every image of every Na site to every position."""
    labels, sites, full = decorate.sites("monoclinic")
    sites = sites[labels == "Na"] @ np.linalg.inv(full) @ lattice_A
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ lattice_A
    inside = (positions_A @ np.linalg.inv(lattice_A)) % 1.0 @ lattice_A
    return inside[:, None, None] - sites[None, :, None] - images[None, None]


@pytest.fixture(scope="module")
def wells():
    class Toy:
        def calculator(self):
            return Wells()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(potentials, "load", lambda name: Toy())
        yield


@pytest.fixture(scope="module")
def hop_frames(wells):
    return sampled(HOPS)


def nearest_site(position_A, lattice_A):
    """Which Na site a position is nearest to, and how far it is from it, Å."""
    distances = np.linalg.norm(away_from_sites_A(position_A[None], lattice_A)[0], axis=2).min(axis=1)
    return int(distances.argmin()), float(distances.min())


def well_energy_eV(frame, positions_A):
    atoms = frame.to_ase()
    atoms.positions = positions_A
    atoms.calc = Wells()
    return atoms.get_potential_energy()


def test_one_ion_goes_from_a_site_to_an_empty_one_over_the_barrier_between_them(hop_frames):
    ways = by_system(hop_frames)
    assert len(ways) == 2
    for way in ways:
        assert {frame.how for frame in way} == {"hop"}
        assert {frame.split for frame in way} == {split_of(way[0].system, 0.12)}
        steps = np.linalg.norm(way[-1].positions_A - way[0].positions_A, axis=1)
        ion = int(steps.argmax())
        assert steps[ion] > 3
        assert np.delete(steps, ion).max() < 1e-9  # nothing else feels the ion in this toy
        (here, off), (there, off_there) = (nearest_site(way[k].positions_A[ion], way[0].lattice_A) for k in (0, -1))
        others = {nearest_site(p, way[0].lattice_A)[0]
                  for k, p in enumerate(way[0].positions_A) if way[0].numbers[k] == 11 and k != ion}
        assert here != there
        assert max(off, off_there) < 0.3  # wells lean on their neighbours
        assert not {here, there} & others
        along = [(frame.positions_A[ion] - way[0].positions_A[ion]) @ (way[-1].positions_A[ion]
                 - way[0].positions_A[ion]) / steps[ion] ** 2 for frame in way]
        assert (np.diff(along) > 0).all()
        energies = [well_energy_eV(frame, frame.positions_A) for frame in way]
        line = [way[0].positions_A * (1 - part) + way[-1].positions_A * part for part in np.linspace(0, 1, 101)]
        straight = max(well_energy_eV(way[0], positions) for positions in line)
        assert 0 < int(np.argmax(energies)) < len(way) - 1
        assert max(energies) == pytest.approx(straight, abs=0.05)
        assert max(energies) - energies[0] > 0.3


@pytest.mark.usefixtures("wells")
def test_hops_are_the_same_again_and_do_not_depend_on_how_many_there_are(hop_frames):
    again = sampled({**HOPS, "systems": 1})
    assert len(again) == 5
    assert all(np.array_equal(a.positions_A, b.positions_A) for a, b in zip(hop_frames, again, strict=False))
    source, streams = parse(HopsSource, HOPS), [Stream("toy", seed, 0, 0.12, ()) for seed in (1, 2)]
    names = {decorate.name_of("monoclinic", hops.drawn(source, stream, 0, stream.generator(0)).before)
             for stream in streams}
    assert hop_frames[0].system in names
    assert len(names) == 2


@pytest.mark.usefixtures("wells")
def test_a_band_without_a_barrier_that_ions_take_gives_no_frame_and_is_counted():
    said = []
    config = parse(SampleConfig, {"name": "toy", "sources": [{**HOPS, "barrier_max_eV": 1e-3, **QUICK}]})
    assert sample(config, said.append) == []
    assert said == ["source 1 of 1 (hops): 0 frames; 1 of 1 systems gave none"]


def test_a_hop_needs_an_ion_that_moves_and_a_top_between_its_ends():
    def band(energies, far_A):
        ends = [{"positions_A": [[0.0, 0, 0], [9.0, 0, 0]]}, {"positions_A": [[far_A, 0, 0], [9.0, 0, 0]]}]
        return {"energies_eV": energies, "cells": ends}

    assert hops.leads_over(band([0, 0.4, 0.1], 3.0), 0, 2.0)
    assert not hops.leads_over(band([0, 0.4, 0.1], 0.5), 0, 2.0)
    assert not hops.leads_over(band([0, 0.4, 0.1], 3.0), 1, 2.0)
    assert not hops.leads_over(band([0, 0.2, 0.3], 3.0), 0, 2.0)
    assert not hops.leads_over(band([0, 2.4, 0.3], 3.0), 0, 2.0)
    assert not hops.leads_over(band([0, np.nan, 0.3], 3.0), 0, 2.0)


CARD_SEEDS = (1, 2, 3, 4, 5, 6)


def test_no_hop_leaves_or_comes_to_what_a_card_hops_between_and_both_ends_are_of_one_split():
    source = parse(HopsSource, {**HOPS, "systems": 200, "silicon": [2]})
    held_out = {name for seed in CARD_SEEDS for name in card_ends(seed)}
    assert len(held_out) > 6
    stream, met = Stream("toy", 1, 0, 0.5, ()), set()
    for number in range(source.systems):
        hop = hops.drawn(source, stream, number, stream.generator(number))
        ends = [decorate.name_of(hop.framework, occupied) for occupied in (hop.before, hop.after)]
        assert not held_out & set(ends)
        assert len({stream.split(end) for end in ends}) == 1
        met |= set(ends)
    assert len(met) > 50
    free = source.model_copy(update={"card_seeds": ()})
    drawn = [hops.drawn(free, stream, number, stream.generator(number)) for number in range(source.systems)]
    assert held_out & {decorate.name_of(hop.framework, hop.before) for hop in drawn}  # so they had to be left out


def card_ends(seed):
    """Decorations of a card's hop, read off its cells: whatever Na site each ion is nearest to, is taken."""
    from atomflow.distill.card_checks.hops import hop_ends

    first, last, _ = hop_ends(seed)
    occupied = decorate.occupation("monoclinic", 2.0, 0, np.random.default_rng(seed))
    where = np.flatnonzero(decorate.sites("monoclinic")[0] == "Na")
    for cell in (first, last):
        taken = [nearest_site(position, cell.lattice_A)[0] for position in cell.positions_A[cell.symbols == "Na"]]
        sites = occupied.copy()
        sites[where] = ""
        sites[where[taken]] = "Na"
        yield decorate.name_of("monoclinic", sites)


@pytest.mark.usefixtures("wells")
def test_hops_and_decorations_of_one_pool_share_systems_and_splits():
    nzsp = {"kind": "nzsp", "systems": 60, "frameworks": ["monoclinic"], "silicon": [2], "zinc_every": 0}
    frames = sample(parse(SampleConfig, {"name": "toy", "held_out_fraction": 0.5, "sources": [nzsp, {**HOPS, **QUICK}]}))
    check_no_leakage(frames)
    assert {frame.split for frame in frames} == {"train", "test"}


@pytest.mark.parametrize(("change", "words"), [
    ({"silicon": [3]}, "none can hop"), ({"silicon": [1.25]}, "multiple of 0.5"), ({"longest_A": 1.0}, "longest_A"),
    ({"images": 0}, "images"), ({"kelvins": 3}, "unknown key"), ({"frameworks": ["cubic"]}, "frameworks"),
])
@pytest.mark.usefixtures("wells")
def test_hops_that_cannot_be_are_one_clear_line(change, words):
    with pytest.raises(InputError, match=words) as error:
        sampled({**HOPS, **change})
    assert "\n" not in str(error.value)


# --- decorations and progress -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("framework", "operations"), [("monoclinic", 4), ("rhombohedral", 12)])
def test_decorations_that_a_symmetry_operation_makes_equal_have_one_name(framework, operations):
    """The oracle is all distances between sites: a symmetry operation keeps them, and nothing else is asked of it."""
    moves = decorate._symmetries(framework)
    labels, positions, lattice = decorate.sites(framework)
    assert len(moves) == operations
    assert all(sorted(moved) == list(range(len(labels))) for moved in moves)
    apart = (positions[:, None] - positions[None]) @ np.linalg.inv(lattice)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    near = (apart - np.round(apart))[:, :, None] + images
    distances = np.sort(np.linalg.norm(near @ lattice, axis=3), axis=2)[:, :, 0]
    occupied = decorate.occupation(framework, 2.0, 0, np.random.default_rng(1))
    for moved in moves:
        assert (labels[moved] == labels).all()
        np.testing.assert_allclose(distances[np.ix_(moved, moved)], distances, atol=0.02)
        assert decorate.name_of(framework, occupied[moved]) == decorate.name_of(framework, occupied)
    names = {decorate.name_of(framework, decorate.occupation(framework, 2.0, 0, np.random.default_rng(s)))
             for s in range(30)}
    assert len(names) > 20


def test_what_is_left_is_said_of_the_source_that_runs():
    assert _how_far(0, 4, 1, 30.0).startswith("0 of 4 systems, 1 frames; it can be said after the first")
    assert _how_far(2, 6, 10, 60.0) == "2 of 6 systems, 10 frames, 2.0 min left of this source if all are alike"
