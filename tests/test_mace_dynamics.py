"""MACE without autograd against mace-torch's own module, against finite differences, and where numbers end."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

torch = pytest.importorskip("torch")
pytest.importorskip("numba")
if find_spec("mace") is None:
    pytest.skip("mace-torch is not installed", allow_module_level=True)

import potential_toys  # noqa: E402
from mace_toys import ELEMENTS, R_MAX, make_mace  # noqa: E402
from potential_toys import evaluate, flat, ordered_nzsp  # noqa: E402

from atomflow.potentials import load  # noqa: E402
from atomflow.potentials.committee import open_members  # noqa: E402
from atomflow.potentials.compiled import compiled  # noqa: E402
from atomflow.potentials.edges import build_edges  # noqa: E402
from atomflow.potentials.mace import arrays, dynamics, kernels  # noqa: E402
from atomflow.potentials.mace import potential as mace  # noqa: E402
from atomflow.potentials.mace.imports import mace_module  # noqa: E402
from atomflow.potentials.repulsion import with_repulsion  # noqa: E402

own_cache, small = potential_toys.own_cache, potential_toys.small
RADII = {"B": 0.45, "O": 0.56, "Na": 0.89, "Si": 0.71, "P": 0.65, "Zn": 0.93, "Zr": 1.03}


def sodium():
    """Two atoms of the metal: most neighbours are images, many of the atom itself."""
    atoms = bulk("Na", "bcc", a=4.2, cubic=True)
    atoms.rattle(0.2, seed=5)
    return atoms


def glass():
    """A packing as it begins: all elements, some atoms nearly on top of one another."""
    rng = np.random.default_rng(6)
    lattice = np.eye(3) * 7.4 + rng.normal(0, 0.3, (3, 3))
    return Atoms(rng.choice(ELEMENTS, 28), rng.random((28, 3)) @ lattice, cell=lattice, pbc=True)


def contact():
    """Metal on salt, atoms of either side within each other's reach."""
    metal, salt = sodium().repeat((2, 1, 1)), potential_toys.rock_salt()
    salt.positions[:, 2] += 5.0
    return Atoms([*metal.numbers, *salt.numbers], np.concatenate([metal.positions, salt.positions]),
                 cell=[[8.4, 0, 0], [0, 4.4, 0], [1.0, 0, 13.0]], pbc=True)


def toy(dtype="float64", head=None, **changes):
    model = make_mace(seed=4, **changes)
    return mace.from_module(model, name="t", sha256="0" * 64, source="t", device="cpu", dtype=dtype, head=head)


def agree(potential, systems, energy, forces, stress):
    """The compiled way within these shares of what mace-torch's module and autograd say."""
    assert potential.arrays is not None
    ours, theirs = (evaluate(each, *systems, skin_A=0.7) for each in (potential, replace(potential, shorter=None)))
    np.testing.assert_allclose(ours.energy_eV, theirs.energy_eV, rtol=energy)
    scale = float(theirs.forces_eV_per_A.abs().max())
    np.testing.assert_allclose(ours.forces_eV_per_A, theirs.forces_eV_per_A, rtol=0, atol=forces * scale)
    scale = float(theirs.stress_eV_per_A3.abs().max())
    np.testing.assert_allclose(ours.stress_eV_per_A3, theirs.stress_eV_per_A3, rtol=0, atol=stress * scale)


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("a further member", "atomflow-nzsp-0")]


@pytest.fixture(scope="module", params=["atomflow-nzsp-zbo", *OTHERS])
def shipped(request):
    if request.param == "a further member":
        return open_members(load("atomflow-nzsp-zbo", device="cpu"))[0]
    return load(request.param, device="cpu")


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_shipped_models_are_what_mace_torch_says_they_are(shipped, precision):
    potential = shipped.with_dtype(precision)
    ordinary = [potential_toys.rock_salt(), sodium(), contact(), ordered_nzsp()]
    close = {"float32": (1e-6, 1e-5, 1e-5), "float64": (1e-11, 1e-10, 1e-10)}[precision]
    agree(potential, ordinary, *close)
    agree(potential, [glass()], 10 * close[0], *close[1:])  # of atoms that cancel by hundreds of eV


@pytest.mark.parametrize(
    "changes",
    [
        {"max_ell": 1, "correlation": 1},
        {"max_ell": 3, "correlation": 3, "num_interactions": 1},
        {"max_ell": 2, "correlation": 1, "num_interactions": 3},
        {"max_ell": 2, "correlation": 3, "interaction_cls_first": "RealAgnosticResidualInteractionBlock"},
        {"interaction_cls": "RealAgnosticInteractionBlock"},
        {"use_last_readout_only": True},
        {"apply_cutoff": False},
        {"pair_repulsion": True},
        {"hidden_irreps": "8x0e+8x1o", "max_ell": 2, "correlation": 3},
        {"hidden_irreps": "6x0e+6x1o+6x2e", "max_ell": 2, "correlation": 2, "num_interactions": 3},
        {"hidden_irreps": "8x0e+8x1o", "interaction_cls_first": "RealAgnosticResidualInteractionBlock"},
    ],
    ids=lambda changes: ", ".join(f"{name} {value}" for name, value in changes.items()),
)
def test_models_of_other_shapes(changes, small):
    blocks = mace_module("modules").interaction_classes
    named = {key: blocks[value] if key.startswith("interaction_cls") else value for key, value in changes.items()}
    if "hidden_irreps" in named:
        from e3nn import o3

        named["hidden_irreps"] = o3.Irreps(named["hidden_irreps"])
    agree(toy(**named), [small, sodium()], 1e-12, 1e-11, 1e-11)


@pytest.mark.parametrize("head", ["coarse", "fine"])
def test_each_of_several_heads(head, small):
    energies = np.array([np.linspace(-8, -1, 7), np.linspace(-3, -2, 7)])
    several = {"heads": ["coarse", "fine"], "atomic_energies": energies, "atomic_inter_scale": [1.7, 0.6],
               "atomic_inter_shift": [0.1, -0.3]}  # fmt: skip
    agree(toy(head=head, **several), [small], 1e-12, 1e-11, 1e-11)


def test_forces_are_the_slope_of_the_energy_where_atoms_repel():
    model = with_repulsion(make_mace(3, max_ell=2, correlation=3), RADII)
    potential = mace.from_module(model, name="t", sha256="0" * 64, source="t", device="cpu", dtype="float64")
    atoms, step_A = glass(), 1e-5
    forces = evaluate(potential, atoms).forces_eV_per_A.numpy()
    for atom, axis in ((0, 0), (11, 1), (27, 2)):
        moved = [atoms.copy(), atoms.copy()]
        for sign, each in zip((1, -1), moved, strict=True):
            each.positions[atom, axis] += sign * step_A
        up, down = evaluate(potential, *moved).energy_eV.tolist()
        assert forces[atom, axis] == pytest.approx((down - up) / (2 * step_A), rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_tables_err_less_than_the_precision_rounds(precision):
    potential = load("atomflow-nzsp-zbo", device="cpu").with_dtype(precision)
    model = potential.with_dtype("float64").model
    lengths = torch.linspace(0.02, 1, 3001, dtype=torch.float64)[:, None] * (potential.identity.cutoff_A - 1e-9)
    for block, layer in zip(model.interactions, potential.arrays.layers, strict=True):
        table = layer.table.astype(float)

        def true(r, block=block):
            one_hot, ends = torch.eye(7, dtype=torch.float64), torch.zeros((2, len(r)), dtype=torch.int64)
            return block.conv_tp_weights(model.radial_embedding(r, one_hot, ends, model.atomic_numbers)[0])

        along = lengths.numpy()[:, 0] / potential.identity.cutoff_A * len(table)
        interval = along.astype(int)
        t, powers = 2 * (along - interval) - 1, np.arange(table.shape[1])
        values = np.einsum("np,npf->nf", t[:, None] ** powers, table[interval])
        slopes = np.einsum("np,npf->nf", powers[1:] * t[:, None] ** powers[:-1], table[interval][:, 1:])
        slopes *= 2 * len(table) / potential.identity.cutoff_A
        value, slope = torch.func.jvp(true, (lengths,), (torch.ones_like(lengths),))
        error = np.abs(values - value.detach().numpy()).max() / float(value.abs().max())
        slope_error = np.abs(slopes - slope.detach().numpy()).max() / float(slope.abs().max())
        most, most_of_slope = {"float32": (1.2e-7, 5e-7), "float64": (3e-14, 2e-11)}[precision]
        assert error < most
        assert slope_error < most_of_slope


# --- where numbers end -------------------------------------------------------------------------------------------


def pair(potential, distance_A):
    return evaluate(potential, Atoms("NaO", [[0, 0, 0], [0, 0, distance_A]], cell=np.eye(3) * 14, pbc=True))


def test_a_pair_at_the_cutoff_and_beyond_is_no_pair():
    potential = toy()
    apart = pair(potential, 6.9).energy_eV
    for distance_A in (R_MAX, R_MAX + 1e-9):
        assert torch.equal(pair(potential, distance_A).energy_eV, apart)
        assert not pair(potential, distance_A).forces_eV_per_A.any()
    assert float((pair(potential, R_MAX - 1e-7).energy_eV - apart).abs()) < 1e-12


def test_atoms_that_fall_onto_one_another():
    potential = toy()
    agree(potential, [Atoms("Na2", [[0, 0, 0], [0.01, 0, 0.003]], cell=np.eye(3) * 14, pbc=True)], 1e-9, 1e-9, 1e-9)
    assert pair(potential, 0.0).energy_eV.isnan()


@pytest.mark.parametrize("broken", [float("nan"), 1e300])
def test_a_broken_position_shows_in_the_energy_of_its_own_system_only(broken, small):
    potential = toy()
    numbers, positions, lattices, owner = flat(small, small)
    model = potential.batch_model(numbers, owner, 2)
    edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device)
    positions = torch.tensor(positions)
    whole = model(positions, torch.tensor(lattices), edges, False)
    positions[1, 2] = broken
    answer = model(positions, torch.tensor(lattices), edges, False)
    assert float(answer.energy_eV[1]) == float(whole.energy_eV[1])
    assert np.isnan(answer.energy_eV[0]) == np.isnan(broken)
    assert model.compiled is not None


def test_no_pairs_at_all():
    potential = toy()
    lonely = evaluate(potential, Atoms("NaO", [[0, 0, 0], [9, 9, 9]], cell=np.eye(3) * 18, pbc=True))
    alone = [Atoms(symbol, cell=np.eye(3) * 18) for symbol in ("Na", "O")]
    theirs = evaluate(replace(potential, shorter=None), *alone)
    assert float(lonely.energy_eV[0]) == pytest.approx(float(theirs.energy_eV.sum()), rel=1e-13)
    assert not lonely.forces_eV_per_A.any()


# --- threads and what is kept ------------------------------------------------------------------------------------


def test_two_threads_say_what_one_says_and_each_says_it_again(monkeypatch):
    potential, atoms = toy("float32", max_ell=2), ordered_nzsp()
    one = evaluate(potential, atoms)
    monkeypatch.setattr(dynamics, "PAIRS_A_THREAD", 300)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two, again = evaluate(potential, atoms), evaluate(potential, atoms)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(two.forces_eV_per_A, again.forces_eV_per_A)
    assert torch.equal(two.energy_eV, again.energy_eV)
    scale = float(one.forces_eV_per_A.abs().max())
    np.testing.assert_allclose(two.forces_eV_per_A, one.forces_eV_per_A, rtol=0, atol=1e-5 * scale)


def test_work_space_kept_between_calls_changes_nothing(small):
    potential = toy()
    numbers, positions, lattices, owner = flat(small)
    model = potential.batch_model(numbers, owner, 1)
    lattices = torch.tensor(lattices)
    answers = []
    for skin_A in (1.5, 0.0, 1.5):
        edges = build_edges(positions, lattices.numpy(), owner, model.cutoff_A + skin_A, model.device)
        answers.append(model(torch.tensor(positions), lattices, edges, True))
    assert torch.equal(answers[0].forces_eV_per_A, answers[2].forces_eV_per_A)
    np.testing.assert_allclose(answers[1].forces_eV_per_A, answers[0].forces_eV_per_A, rtol=0, atol=1e-13)


# --- who does not take this way ----------------------------------------------------------------------------------


def test_without_numba_the_other_way_gives_the_same(monkeypatch, small):
    with_numba = evaluate(toy(), small)
    monkeypatch.setattr(dynamics, "kernels", lambda: None)
    potential = toy()
    assert potential.arrays is None
    assert potential.shorter is not None
    plain = evaluate(potential, small)
    np.testing.assert_allclose(plain.energy_eV, with_numba.energy_eV, rtol=1e-13, atol=0)
    np.testing.assert_allclose(plain.forces_eV_per_A, with_numba.forces_eV_per_A, rtol=0, atol=1e-11)


def test_kernels_are_there_where_nothing_can_be_kept(monkeypatch):
    import numba

    def refusing(*args, cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled.__wrapped__(kernels.collect) is kernels.collect


def test_radial_strengths_that_depend_on_elements_are_not_tabulated():
    potential = toy(distance_transform="Agnesi")
    assert potential.shorter is not None
    assert potential.arrays is None


def test_arrays_that_do_not_agree_with_the_model_are_not_used(monkeypatch):
    def other(model, head):
        true = arrays.arrays_of(model, head)
        return replace(true, embedding=true.embedding * 1.001)

    monkeypatch.setattr(dynamics, "arrays_of", other)
    assert toy().arrays is None
