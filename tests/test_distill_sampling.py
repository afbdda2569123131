"""Sampling for distillation: seeded, neutral, without overlapping atoms, the test split made by system."""

import numpy as np
import pytest
from ase.data import chemical_symbols
from ase.neighborlist import primitive_neighbor_list

from atomflow.config import parse
from atomflow.distill import decorate, distort
from atomflow.distill.config import SampleConfig
from atomflow.distill.frames import Frame, check_no_leakage, split_of
from atomflow.distill.sample import sample, select_diverse
from atomflow.errors import InputError

CHARGE = {"Na": 1, "Zr": 4, "Zn": 2, "Si": 4, "P": 5, "B": 3, "O": -2}
CONFIG = {
    "name": "small", "seed": 7, "held_out_fraction": 0.2, "held_out_silicon": [1.5],
    "sources": [
        {"kind": "nzsp", "systems": 12},
        {"kind": "crystals", "crystals": ["ZrSiO4_zircon_I41amd"], "per_crystal": 2},
        {"kind": "packings", "systems": 4, "family": "zbo", "units": {"ZnO": [2, 3], "B2O3": [2, 3]},
         "density_g_per_cm3": [2.4, 3.2]},
    ],
}


def symbols_of(frame: Frame) -> list[str]:
    return [chemical_symbols[z] for z in frame.numbers]


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return sample(parse(SampleConfig, CONFIG))


def test_same_seed_same_frames_other_seed_others(frames):
    again = sample(parse(SampleConfig, CONFIG))
    other = sample(parse(SampleConfig, {**CONFIG, "seed": 8}))
    assert [f.system for f in again] == [f.system for f in frames]
    assert all(np.array_equal(a.positions_A, b.positions_A) for a, b in zip(frames, again, strict=True))
    first, second = frames[0], other[0]
    assert first.n_atoms != second.n_atoms or not np.allclose(first.positions_A, second.positions_A)


def test_a_source_added_behind_changes_nothing_before_it(frames):
    fewer = sample(parse(SampleConfig, {**CONFIG, "sources": CONFIG["sources"][:1]}))
    assert all(np.array_equal(a.positions_A, b.positions_A) for a, b in zip(frames, fewer, strict=False))


def test_every_frame_is_neutral_and_no_pair_overlaps(frames):
    for frame in frames:
        assert sum(CHARGE[symbol] for symbol in symbols_of(frame)) == 0
        distances = primitive_neighbor_list("d", (True,) * 3, frame.lattice_A, frame.positions_A, 3.0)
        assert distances.min() > 0.9


def test_no_system_is_in_both_splits_and_the_held_out_composition_is_never_trained_on(frames):
    check_no_leakage(frames)
    held_out = [frame for frame in frames if "-x1.5-" in frame.system]
    assert held_out
    assert all(frame.split == "test" for frame in held_out)


def test_the_only_decoration_of_a_composition_is_one_system_whatever_the_seed():
    full = {"kind": "nzsp", "systems": 3, "frameworks": ["rhombohedral"], "silicon": [3]}
    names = {frame.system for seed in (1, 2) for frame in
             sample(parse(SampleConfig, {"name": "full", "seed": seed, "sources": [full]}))}
    assert len(names) == 1


def test_leakage_is_an_error(frames):
    from dataclasses import replace

    train = next(frame for frame in frames if frame.split == "train")
    with pytest.raises(InputError, match="both"):
        check_no_leakage([train, replace(train, split="test")])


def test_split_by_name_holds_out_the_fraction_asked_for():
    held = sum(split_of(f"system-{k}", 0.12) == "test" for k in range(4000)) / 4000
    assert held == pytest.approx(0.12, abs=0.02)


@pytest.mark.parametrize(("silicon", "zinc", "formula"), [
    (2.0, 0, {"Na": 6, "Zr": 4, "Si": 4, "P": 2, "O": 24}),
    (0.0, 0, {"Na": 2, "Zr": 4, "P": 6, "O": 24}),
    (2.0, 1, {"Na": 8, "Zr": 3, "Zn": 1, "Si": 4, "P": 2, "O": 24}),
])
@pytest.mark.parametrize("framework", ["monoclinic", "rhombohedral"])
def test_decoration_has_the_composition_and_bond_lengths_asked_for(framework, silicon, zinc, formula):
    symbols, positions, lattice = decorate.decorated(framework, silicon, zinc, np.random.default_rng(3))
    assert {s: int((symbols == s).sum()) for s in set(symbols)} == formula
    alike = np.ones(len(symbols))
    i, j, distances = primitive_neighbor_list("ijd", (True,) * 3, lattice, positions, 2.0, numbers=alike)
    for centre, low, high in (("P", 1.45, 1.62), ("Si", 1.55, 1.72)):
        bonds = distances[(symbols[i] == centre) & (symbols[j] == "O")]
        assert len(bonds) == 4 * formula.get(centre, 0)
        if len(bonds):
            assert low < bonds.min()
            assert bonds.max() < high


@pytest.mark.parametrize(("silicon", "zinc", "words"), [(1.25, 0, "multiple of 0.5"), (3.0, 1, "needs 10 Na")])
def test_impossible_decoration_is_one_clear_line(silicon, zinc, words):
    with pytest.raises(InputError, match=words):
        decorate.decorated("monoclinic", silicon, zinc, np.random.default_rng(0))


def test_strain_follows_its_ranges():
    rng = np.random.default_rng(0)
    lattice = np.diag([5.0, 6.0, 7.0])
    points = rng.random((4, 3)) @ lattice
    ratios = []
    for _ in range(200):
        moved, strained = distort.strained(points, lattice, rng, volume=0.08, shear=0.01)
        ratios.append(np.linalg.det(strained) / 210.0)
        np.testing.assert_allclose(moved @ np.linalg.inv(strained), points @ np.linalg.inv(lattice), rtol=0, atol=1e-12)
    assert min(ratios) >= 0.92 - 1e-9
    assert max(ratios) <= 1.08 + 1e-9
    assert np.ptp(ratios) > 0.13


def test_packing_has_its_density_and_no_close_contacts():
    symbols = np.array(["Zn"] * 4 + ["B"] * 12 + ["O"] * 22)
    positions, lattice = distort.packed(symbols, 2.85, np.random.default_rng(5), floor=0.95)
    mass = 4 * 65.38 + 12 * 10.81 + 22 * 15.999
    assert mass * 1.66053906660 / np.linalg.det(lattice) == pytest.approx(2.85, rel=1e-3)
    assert distort.contact_ratio(symbols, positions, lattice) > 0.9


def test_diverse_selection_prefers_what_differs():
    rng = np.random.default_rng(1)
    base = rng.random((8, 3)) * 4

    def frame(scale: float, name: str) -> Frame:
        return Frame(np.full(8, 8), base * scale, np.eye(3) * 4 * scale, name, "toy", "rattle", "train")

    crowd = [frame(1.0 + 1e-4 * k, f"same-{k}") for k in range(10)]
    chosen = select_diverse([*crowd, frame(1.3, "far"), frame(0.8, "near")], 3)
    assert {"far", "near"} <= {f.system for f in chosen}


def test_dynamics_moves_atoms_at_its_temperature_and_is_seeded():
    crystal = {"kind": "crystals", "crystals": ["Na_bcc"], "per_crystal": 1, "family": "metal",
               "distortion": {"volume": 0.01, "shear": 0.0, "framework_A": [0.01, 0.01], "mobile_A": [0.01, 0.01]}}
    source = {"kind": "dynamics", "potential": "lennard-jones-argon", "start": crystal, "temperatures_K": [40],
              "gaps_steps": [5, 5], "timestep_fs": 5.0}
    config = parse(SampleConfig, {"name": "md", "sources": [source]})
    first, again = sample(config), sample(config)
    assert [frame.how for frame in first] == ["md", "md"]
    assert {frame.temperature_K for frame in first} == {40.0}
    assert np.abs(first[1].positions_A - first[0].positions_A).max() > 1e-3
    assert all(np.array_equal(a.positions_A, b.positions_A) for a, b in zip(first, again, strict=True))


def test_dynamics_that_explodes_ends_and_says_so():
    import ase

    from atomflow.distill.sources.dynamics import trajectory_frames
    from atomflow.potentials.pair import LennardJones

    rng = np.random.default_rng(0)
    atoms = ase.Atoms("Na16", positions=rng.random((16, 3)) * 7, cell=[7, 7, 7], pbc=True)  # overlapping argon
    found = list(trajectory_frames(atoms, LennardJones(device="cpu").calculator(), 50.0, (3, 3, 3), 5.0, 0.01, 0, 1))
    assert len(found) <= 1
    assert not any(sane for *_, sane in found)


def test_unknown_oxide_unit_is_named():
    source = {"kind": "packings", "systems": 1, "family": "x", "units": {"MgO": [1, 2]}, "density_g_per_cm3": [2, 3]}
    with pytest.raises(InputError, match="MgO"):
        sample(parse(SampleConfig, {"name": "bad", "sources": [source]}))


@pytest.mark.parametrize(("change", "said"), [
    ({"units": {"ZnO": [2, 1]}}, "the first number is the low end"),
    ({"units": {"ZnO": [-1, 2]}}, "ZnO"),
    ({"units": {"ZnO": [0, 2]}}, "may come out empty"),
    ({"density_g_per_cm3": [3.0, 2.3]}, "the first number is the low end"),
    ({"density_g_per_cm3": [-2.3, 3.0]}, "above 0 and up to 10"),
    ({"density_g_per_cm3": [30, 50]}, "above 0 and up to 10"),
])
def test_packings_that_cannot_be_are_refused(change, said):
    source = {"kind": "packings", "systems": 1, "family": "x", "units": {"ZnO": [1, 2]}, "density_g_per_cm3": [2, 3]}
    with pytest.raises(InputError, match=said):
        parse(SampleConfig, {"name": "bad", "sources": [{**source, **change}]})


BUILT = {
    "name": "built", "seed": 3, "held_out_fraction": 0.0,
    "sources": [
        {"kind": "built", "builder": "glass", "family": "glass", "systems": 2, "options": {"units": [2], "na": [0, 1]}},
        {"kind": "built", "builder": "boundary", "family": "boundary", "systems": 4, "atoms_max": 90,
         "system_by": ["kind", "plane"], "held_out": {"plane": [[1, 0, 1]]},
         "options": {"plane": [[1, 0, 1], [2, 0, 0]], "kind": ["mirror", "shift"], "grain_thickness": [3.5],
                     "width": [2]},
         "distortion": {"volume": 0.0, "shear": 0.0, "framework_A": [0.05, 0.05], "mobile_A": [0.1, 0.1]}},
    ],
}  # fmt: skip


def test_built_systems_are_seeded_neutral_and_held_out_by_their_options():
    found = sample(parse(SampleConfig, BUILT))
    again = sample(parse(SampleConfig, BUILT))
    assert all(np.array_equal(a.positions_A, b.positions_A) for a, b in zip(found, again, strict=True))
    assert [frame.family for frame in found] == ["glass"] * 2 + ["boundary"] * 4
    assert all(sum(CHARGE[s] for s in symbols_of(frame)) == 0 for frame in found)
    assert all((frame.split == "test") == ("-101" in frame.system) for frame in found)
    assert {frame.system.split("-")[1] for frame in found[2:]} <= {"mirror", "shift"}
    assert {frame.system[-4:] for frame in found[2:]} <= {"-101", "-200"}
    assert {frame.system for frame in found[:2]} == {"built-3-0-glass-0", "built-3-0-glass-1"}


def test_sealed_source_stands_on_a_boundary():
    sealed = {"kind": "built", "builder": "sealed", "options": {"film": [5.0]}, "system_by": ["ground.plane"]}
    ground = {"kind": "built", "builder": "boundary",
              "options": {"plane": [[2, 0, 0]], "kind": ["shift"], "grain_thickness": [3.5], "width": [2]}}
    (frame,) = sample(parse(SampleConfig, {"name": "s", "sources": [{**sealed, "ground": ground}]}))
    assert frame.system == "sealed-200"
    assert {"B", "Zn", "Zr"} <= set(symbols_of(frame))
    with pytest.raises(InputError, match="boundary"):
        parse(SampleConfig, {"name": "s", "sources": [sealed]})
    with pytest.raises(InputError, match="draws"):
        sample(parse(SampleConfig, {"name": "s", "sources": [{**sealed, "ground": ground, "atoms_max": 8}]}))


def test_a_quench_falls_from_the_melt_to_its_target():
    from atomflow.distill.sources.dynamics import cooling

    assert cooling(300.0, 2700.0, 3) == pytest.approx([2700.0, 900.0, 300.0])
    assert cooling(3000.0, 2500.0, 2) == [3000.0, 3000.0]
    assert cooling(500.0, None, 3) == [500.0] * 3
