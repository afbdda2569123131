"""Hops as sources of frames: one ion goes from site to site over a barrier that is known; splits do not leak."""

import itertools

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from atomflow import potentials
from atomflow.config import parse
from atomflow.distill import decorate
from atomflow.distill.config import SampleConfig
from atomflow.distill.frames import check_no_leakage, split_of
from atomflow.distill.sample import sample
from atomflow.distill.sources import dynamics, hops, warm
from atomflow.distill.sources.config import HopsSource, Warm
from atomflow.distill.sources.stream import Stream
from atomflow.errors import InputError

HOPS = {"kind": "hops", "potential": "wells", "systems": 2, "frameworks": ["monoclinic"], "silicon": [2, 1],
        "volume": 0.0, "shear": 0.0, "zinc_every": 0, "fmax_eV_per_A": 0.02}
QUICK = {"systems": 1, "images": 1, "max_steps": 3}
DEPTH_EV, WIDTH_A = 1.0, 1.0


def sampled(source, **settings):
    return sample(parse(SampleConfig, {"name": "toy", "sources": [source], **settings}))


def by_system(frames):
    return [list(way) for _, way in itertools.groupby(frames, lambda frame: frame.system)]


class Wells(Calculator):
    """Every Na in Gaussian wells on all Na sites of the monoclinic framework; the rest is tied, or free."""

    implemented_properties = ("energy", "forces")

    def __init__(self, depth_eV=DEPTH_EV, tie_eV_per_A2=0.0):
        super().__init__()
        self.depth_eV, self.tie_eV_per_A2, self.home = depth_eV, tie_eV_per_A2, None

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.home is None or not np.array_equal(self.home.numbers, atoms.numbers):
            self.home = atoms.copy()
        off = np.where(atoms.numbers[:, None] == 11, 0.0, atoms.positions - self.home.positions)
        sodium = np.flatnonzero(atoms.numbers == 11)
        away = away_from_sites_A(atoms.positions[sodium], atoms.cell.array)
        wells = self.depth_eV * np.exp(-(away**2).sum(-1) / (2 * WIDTH_A**2))
        forces = -self.tie_eV_per_A2 * off
        forces[sodium] = -(wells[..., None] * away).sum(axis=(1, 2)) / WIDTH_A**2
        self.results = {"energy": self.tie_eV_per_A2 * (off**2).sum() / 2 - wells.sum(), "forces": forces}


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
    frames = sampled(nzsp, held_out_fraction=0.5) + sampled({**HOPS, **QUICK}, held_out_fraction=0.5)
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


# --- brought to a temperature -----------------------------------------------------------------------------------


def walk(steps, looks=40):
    """Looks of a decoration in which ions go, one after the other, straight from their sites: (site from, to, when)."""
    occupied = decorate.occupation("monoclinic", 1.0, 0, np.random.default_rng(2))
    _, positions, lattice = decorate.placed("monoclinic", occupied)
    found = np.repeat(positions[None], looks, axis=0)
    found += np.random.default_rng(0).normal(0, 0.15, found.shape)
    labels = decorate.sites("monoclinic")[0]
    empty = [int(k) for k in np.flatnonzero((labels == "Na") & (occupied == ""))]
    ways = hops._steps("monoclinic", occupied, 4.3)
    chosen = []
    for at in steps:
        full, to, way = next(w for w in ways if w[1] in empty and w[0] not in [c[0] for c in chosen])
        empty.remove(to)
        ion = int((occupied[:full] != "").sum())
        found[:, ion] += np.clip((np.arange(looks) - at + 2) / 4, 0, 1)[:, None] * way
        chosen.append((full, to, ion))
    return occupied, found, lattice, chosen


def test_the_first_passage_is_found_with_the_sites_before_and_after_it():
    occupied, looks, lattice, [(full, empty, ion)] = walk([20])
    seen = warm.passage(Warm(), looks, lattice, "monoclinic", occupied)
    assert seen.ion == ion
    np.testing.assert_array_equal(seen.before, occupied)
    assert (seen.after[full], seen.after[empty]) == ("", "Na")
    assert (seen.after == "Na").sum() == (occupied == "Na").sum()
    assert len(seen.looks_A) == 2 + 2 * 6
    halfway = [np.linalg.norm(look[ion] - looks[0, ion]) for look in seen.looks_A]
    assert halfway[0] < 1 < 3 < halfway[-1]


def test_of_two_passages_the_earlier_is_taken_and_none_is_none():
    occupied, looks, lattice, chosen = walk([30, 12])
    seen = warm.passage(Warm(), looks, lattice, "monoclinic", occupied)
    assert seen.ion == chosen[1][2]
    assert seen.after[chosen[0][0]] == "Na"  # the later has not left yet
    occupied, looks, lattice, _ = walk([])
    assert warm.passage(Warm(), looks, lattice, "monoclinic", occupied) is None
    assert warm.settled(looks[-1], lattice, "monoclinic", occupied)
    occupied, looks, lattice, _ = walk([10])
    assert not warm.settled(looks[-1], lattice, "monoclinic", occupied)


@pytest.mark.parametrize(("depth_eV", "kelvin", "time_ps"), [(0.4, 1600, 1.0), (1.0, 300, 0.2)])
def test_hops_of_dynamics_and_of_cells_that_dynamics_left(monkeypatch, depth_eV, kelvin, time_ps):
    """Wells of 0.4 eV do not hold ions at 1600 K; wells of 1 eV hold every one at 300 K, and an ion is moved."""
    class Toy:
        def calculator(self):
            return Wells(depth_eV, 20.0)

    monkeypatch.setattr(potentials, "load", lambda name: Toy())
    monkeypatch.setattr(dynamics, "CLOSEST", 0.0)  # nothing keeps these ions from oxygen
    warmth = {"temperatures_K": [kelvin], "time_ps": time_ps, "timestep_fs": 4}
    frames = sampled({**HOPS, "systems": 1, "silicon": [1], "card_seeds": [], "max_steps": 10, "warm": warmth},
                     held_out_fraction=0.0)
    sites = [warm.nearest_sites("monoclinic", f.positions_A[f.numbers == 11], f.lattice_A) for f in frames]
    passed = frames[:3] if kelvin == 1600 else []
    assert [(frame.how, frame.temperature_K) for frame in passed] == [("md", 1600.0)] * len(passed)
    assert {frame.how for frame in frames[len(passed):]} <= {"hop"}
    if passed:
        assert (sites[0] != sites[2]).any()
    else:
        assert len(frames) == 5
        assert (sites[0] != sites[-1]).sum() == 1
    atoms = frames[0].to_ase()
    atoms.calc = Wells(depth_eV)
    assert (np.abs(atoms.get_forces()).max() > 0.1) == bool(passed)  # a band's ends came to rest, a passage did not


@pytest.mark.usefixtures("wells")
def test_dynamics_that_is_given_up_leads_to_no_hop():
    warmth = {"temperatures_K": [3000], "time_ps": 0.4, "timestep_fs": 4}  # nothing ties the framework: it flies apart
    assert sampled({**HOPS, **QUICK, "warm": warmth}) == []


# --- decorations ------------------------------------------------------------------------------------------------


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
