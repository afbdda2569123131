"""Potentials against their own ASE calculators, against finite differences, and on the awkward cells."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.potentials.base import Edges

torch = pytest.importorskip("torch")
pytest.importorskip("matscipy")
if find_spec("mace") is None:  # importing it would switch torch's safe loading off
    pytest.skip("mace-torch is not installed", allow_module_level=True)

import potential_toys  # noqa: E402
from mace_toys import R_MAX, make_mace  # noqa: E402
from potential_toys import evaluate, flat, ordered_nzsp  # noqa: E402

from atomflow.potentials import load  # noqa: E402
from atomflow.potentials.check import check  # noqa: E402
from atomflow.potentials.edges import build_edges  # noqa: E402
from atomflow.potentials.evaluate import evaluate_cells  # noqa: E402
from atomflow.potentials.mace import potential as mace  # noqa: E402
from atomflow.potentials.mace import shorter  # noqa: E402
from atomflow.potentials.mace.imports import mace_module  # noqa: E402
from atomflow.potentials.pair import LennardJones  # noqa: E402

own_cache, module, small = potential_toys.own_cache, potential_toys.module, potential_toys.small


@pytest.fixture(scope="module")
def nzsp():
    return ordered_nzsp()


@pytest.fixture(scope="module", params=["mace", "chgnet"])
def double(request, module):
    """Each machine-learned potential in float64, on the CPU."""
    if request.param == "chgnet":
        pytest.importorskip("chgnet")
        return load("chgnet", device="cpu", dtype="float64")
    return mace.from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")


# --- against the model's own calculator ------------------------------------------------------------------------


def test_mace_agrees_with_its_own_calculator(module, small, nzsp):
    potential = mace.from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    calculator = potential.calculator()
    for atoms in (small, nzsp):
        ours = evaluate(potential, atoms, skin_A=1.0)
        atoms = atoms.copy()
        atoms.calc = calculator
        forces, stress = atoms.get_forces(), voigt_6_to_full_3x3_stress(atoms.get_stress())
        assert float(ours.energy_eV[0]) == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(ours.forces_eV_per_A, forces, rtol=0, atol=1e-12 * np.abs(forces).max())
        np.testing.assert_allclose(ours.stress_eV_per_A3[0], stress, rtol=0, atol=1e-11 * np.abs(stress).max())


def test_chgnet_agrees_with_its_own_calculator(small, nzsp):
    pytest.importorskip("chgnet")
    potential = load("chgnet", device="cpu")
    calculator = potential.calculator()
    for atoms in (small, nzsp):
        ours = evaluate(potential, atoms, skin_A=1.0)
        atoms = atoms.copy()
        atoms.calc = calculator
        forces, stress = atoms.get_forces(), voigt_6_to_full_3x3_stress(atoms.get_stress())
        # the original keeps fractional coordinates in float32: that is its rounding, not ours
        assert float(ours.energy_eV[0]) == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(ours.forces_eV_per_A, forces, rtol=0, atol=1e-4 * np.abs(forces).max())
        np.testing.assert_allclose(ours.stress_eV_per_A3[0], stress, rtol=0, atol=1e-4 * np.abs(stress).max())


# --- what must hold for every model ------------------------------------------------------------------------------


def test_forces_and_stress_are_the_slope_of_the_energy(double, small):
    report = check(double, Cell(small.numbers, small.positions, small.cell.array))
    assert report.force_derivative_error < 1e-5
    assert report.stress_derivative_error < 1e-5
    assert report.max_force_eV_per_A > 1e-3
    assert report.narrowest_width_A < report.identity.cutoff_A
    assert report.repeat_force_eV_per_A < 1e-10


def test_a_batch_of_two_systems_equals_each_alone(double, small, nzsp):
    together = evaluate(double, small, nzsp)
    start = 0
    for index, atoms in enumerate((small, nzsp)):
        alone = evaluate(double, atoms)
        forces = together.forces_eV_per_A[start : start + len(atoms)]
        start += len(atoms)
        assert float(together.energy_eV[index]) == pytest.approx(float(alone.energy_eV[0]), rel=1e-12)
        scale = float(alone.forces_eV_per_A.abs().max())
        np.testing.assert_allclose(forces, alone.forces_eV_per_A, rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(together.stress_eV_per_A3[index], alone.stress_eV_per_A3[0], rtol=1e-8, atol=1e-13)


def test_a_skin_of_edges_beyond_the_cutoff_changes_nothing(double, small):
    tight, loose = evaluate(double, small), evaluate(double, small, skin_A=1.5)
    scale = float(tight.forces_eV_per_A.abs().max())
    np.testing.assert_allclose(loose.energy_eV, tight.energy_eV, rtol=1e-13, atol=0)
    np.testing.assert_allclose(loose.forces_eV_per_A, tight.forces_eV_per_A, rtol=0, atol=1e-12 * scale)


def test_mace_gives_edges_beyond_its_cutoff_no_weight_at_all(module, small):
    assert mace.ignores_long_edges(module)
    potential = mace.from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    numbers, positions, lattices, owner = flat(small)
    model = potential.batch_model(numbers, owner, 1)
    model._drop_long_edges, model.shorter = False, None
    edges = build_edges(positions, lattices, owner, R_MAX + 1.5, model.device)
    kept = model(torch.tensor(positions), torch.tensor(lattices), edges, True)
    dropped = evaluate(potential, small)
    np.testing.assert_allclose(kept.forces_eV_per_A, dropped.forces_eV_per_A, rtol=0, atol=1e-15)


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize(
    "changes",
    [{}, {"correlation": 3, "num_interactions": 1}, {"distance_transform": "Agnesi"}, {"hidden_irreps": "4x0e+4x1o"}],
    ids=str,
)
def test_the_shorter_way_through_a_mace_is_the_model(changes, numba, small, nzsp, monkeypatch):
    monkeypatch.setattr(mace, "tried_arrays", lambda *_: None)  # the compiled way has its own tests
    if not numba:
        monkeypatch.setattr(shorter, "available", lambda: False)
    mace_module("modules")  # before e3nn
    from e3nn import o3

    changes = {key: o3.Irreps(value) if key == "hidden_irreps" else value for key, value in changes.items()}
    model = make_mace(seed=4, max_ell=2, **changes)
    potential = mace.from_module(model, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    assert potential.shorter is not None
    whole = replace(potential, shorter=None)
    ours, theirs = evaluate(potential, small, nzsp), evaluate(whole, small, nzsp)
    np.testing.assert_allclose(ours.energy_eV, theirs.energy_eV, rtol=1e-13, atol=0)
    scale = float(theirs.forces_eV_per_A.abs().max())
    np.testing.assert_allclose(ours.forces_eV_per_A, theirs.forces_eV_per_A, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(ours.stress_eV_per_A3, theirs.stress_eV_per_A3, rtol=1e-8, atol=1e-14)


def test_a_mace_of_another_make_takes_its_own_way(small):
    blocks = mace_module("modules").interaction_classes
    model = make_mace(
        interaction_cls=blocks["RealAgnosticDensityResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticDensityInteractionBlock"],
    )
    potential = mace.from_module(model, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    assert potential.shorter is None
    atoms = small.copy()
    atoms.calc = potential.calculator()
    forces = atoms.get_forces()
    answer = evaluate(potential, small, skin_A=1.0)
    np.testing.assert_allclose(answer.forces_eV_per_A, forces, rtol=0, atol=1e-12 * np.abs(forces).max())


def test_without_stress_energy_and_forces_are_the_same_and_stress_is_none(double, small):
    plain, full = evaluate(double, small, stress=False), evaluate(double, small)
    assert plain.stress_eV_per_A3 is None
    assert torch.equal(plain.forces_eV_per_A, full.forces_eV_per_A)
    assert not plain.forces_eV_per_A.requires_grad


def test_translation_and_wrapping_change_nothing(double, small):
    moved = small.copy()
    moved.positions += [0.3, -0.2, 0.9]
    moved.wrap()
    before, after = evaluate(double, small), evaluate(double, moved)
    np.testing.assert_allclose(after.forces_eV_per_A, before.forces_eV_per_A, rtol=0, atol=1e-11)
    np.testing.assert_allclose(before.forces_eV_per_A.sum(0), 0, atol=1e-12)


def test_float32_is_close_to_float64(double, nzsp):
    single = double.with_dtype("float32")
    assert single.identity.dtype == "float32"
    exact, rounded = evaluate(double, nzsp), evaluate(single, nzsp)
    assert rounded.energy_eV.dtype == torch.float64
    assert float(rounded.energy_eV[0]) == pytest.approx(float(exact.energy_eV[0]), rel=1e-6)
    scale = float(exact.forces_eV_per_A.abs().max())
    difference = (rounded.forces_eV_per_A - exact.forces_eV_per_A).abs().max()
    assert 0 < float(difference) < 2e-5 * scale


def test_an_isolated_atom_has_no_force(double):
    lonely = Atoms("Na", cell=[20, 20, 20], pbc=True)
    answer = evaluate(double, lonely)
    assert float(answer.forces_eV_per_A.abs().max()) == 0
    assert np.isfinite(float(answer.energy_eV[0]))


def test_a_position_that_is_not_a_number_shows_in_the_energy(double, small):
    numbers, positions, lattices, owner = flat(small)
    model = double.batch_model(numbers, owner, 1)
    edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device)
    broken = torch.tensor(positions)
    broken[1, 2] = float("nan")
    assert np.isnan(float(model(broken, torch.tensor(lattices), edges, False).energy_eV[0]))


def test_an_unknown_element_is_named(double):
    with pytest.raises(InputError, match="does not know At"):
        double.batch_model(np.array([11, 85]), np.array([0, 0]), 1)


# --- CHGNet's graph ----------------------------------------------------------------------------------------------


def test_undirected_bonds_are_each_edge_once(small):
    from atomflow.potentials.bonds import undirected

    _, positions, lattices, owner = flat(small)
    edges = build_edges(positions, lattices, owner, 6.0, torch.device("cpu"))
    assert bool((edges.senders == edges.receivers).any()), "the cell must be small enough for self-images"
    bonds = undirected(edges)
    there = {(int(i), int(j), *map(int, n)) for i, j, n in zip(bonds.first, bonds.second, bonds.images, strict=True)}
    back = {(j, i, -x, -y, -z) for i, j, x, y, z in there}
    assert not there & back
    every = zip(edges.senders, edges.receivers, edges.images, strict=True)
    assert there | back == {(int(i), int(j), *map(int, n)) for i, j, n in every}


def test_half_a_neighbour_list_is_refused(small):
    from atomflow.potentials.bonds import undirected

    _, positions, lattices, owner = flat(small)
    full = build_edges(positions, lattices, owner, 6.0, torch.device("cpu"))
    with pytest.raises(ValueError, match="no edge back"):
        undirected(Edges(full.senders[1:], full.receivers[1:], full.images[1:]))


def test_angle_pairs_are_all_pairs_at_a_shared_atom():
    from atomflow.potentials.chgnet_angles import angle_pairs

    centers = torch.tensor([2, 0, 2, 1, 2, 0])
    left, right = angle_pairs(centers, 4)
    found = set(zip(left.tolist(), right.tolist(), strict=True))
    expected = {(a, b) for a in range(6) for b in range(6) if a != b and centers[a] == centers[b]}
    assert found == expected
    assert len(left) == len(expected)


# --- Lennard-Jones and the ASE calculator ------------------------------------------------------------------------


def test_lennard_jones_at_the_minimum_and_the_ends_of_its_switch():
    argon = LennardJones(device="cpu")
    minimum = torch.tensor([2 ** (1 / 6) * argon.sigma_A], dtype=torch.float64)
    energy, slope = argon.pair_energy(minimum)
    assert float(energy) == pytest.approx(-argon.epsilon_eV, rel=1e-12)
    assert abs(float(slope)) < 1e-14
    r = torch.tensor([argon.switch_A, argon.cutoff_A, argon.cutoff_A + 1], dtype=torch.float64)
    h = 1e-5
    curvature = [(argon.pair_energy(x + h)[1] - argon.pair_energy(x)[1]) / h for x in (r - h, r)]
    np.testing.assert_allclose(curvature[0], curvature[1], rtol=0, atol=1e-5 * argon.epsilon_eV)
    assert argon.pair_energy(r)[0][1:].abs().max() == 0


def test_lennard_jones_forces_and_stress_in_ases_convention(small):
    from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

    atoms = small.copy()
    atoms.calc = LennardJones(epsilon_eV=0.2, sigma_A=2.2, cutoff_A=6.0, device="cpu").calculator()
    forces, stress = atoms.get_forces(), atoms.get_stress()
    slopes = calculate_numerical_forces(atoms, 1e-5), calculate_numerical_stress(atoms, 1e-5)
    for ours, slope in zip((forces, stress), slopes, strict=True):
        np.testing.assert_allclose(ours, slope, rtol=0, atol=1e-7 * np.abs(slope).max())
    assert len(set(np.round(np.abs(stress), 6))) == 6, "all six components must differ, or their order is not tested"


def test_evaluate_cells_takes_systems_of_different_size(small):
    argon = LennardJones(device="cpu")
    systems = [small, small.repeat((2, 1, 1))]
    answer = evaluate_cells(argon, *([getattr(s, name) for s in systems] for name in ("numbers", "positions")),
                            [s.cell.array for s in systems])
    assert float(answer.energy_eV[1]) == pytest.approx(2 * float(answer.energy_eV[0]), rel=1e-12)
    np.testing.assert_allclose(answer.stress_eV_per_A3[0], answer.stress_eV_per_A3[1], rtol=1e-10, atol=0)
