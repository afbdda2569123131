"""Messages and radial strengths by compiled loops: against sums written out, and slopes against finite differences."""

import importlib

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
pytest.importorskip("mace")

from mace_toys import make_mace

from atomflow.potentials.mace.imports import mace_module
from atomflow.potentials.mace.messages import Pairs, messages
from atomflow.potentials.mace.paths import paths_of
from atomflow.potentials.mace.radial import Places, interpolated

mace_module("modules")
o3 = importlib.import_module("e3nn.o3")


def layer(sent="3x0e", max_ell=2):
    """An interaction of mace-torch's with three channels, float64, and the terms of its messages."""
    block = make_mace(max_ell=max_ell, hidden_irreps=o3.Irreps(sent), num_interactions=2).interactions[1]
    return block.conv_tp, paths_of(block.conv_tp)


def some_pairs(paths, n_atoms=4, n_pairs=7, channels=3, seed=0):
    """Pairs among which one joins an atom to its own image and one occurs twice; S, h, K in float64."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, n_atoms, n_pairs), rng.integers(0, n_atoms, n_pairs)
    second[0] = first[0]
    first[2], second[2] = first[1], second[1]
    pairs = Pairs(first, second, n_atoms)
    shapes = (n_pairs, len(paths.rows), channels), (n_atoms, paths.n_features, channels), (n_pairs, len(paths.target))
    return pairs, [torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


SENT = ["3x0e", "3x0e+3x1o", "3x0e+3x1o+3x2e"]


@pytest.mark.parametrize("sent", SENT)
def test_messages_are_those_of_the_tensor_product_over_both_ends_of_every_pair(sent):
    product, paths = layer(sent)
    pairs, (S, h, _) = some_pairs(paths)
    vectors = torch.tensor(np.random.default_rng(1).normal(size=(7, 3)))
    degrees = range(3)
    harmonics, turned = (o3.spherical_harmonics(list(degrees), way * vectors, True, "component") for way in (1, -1))
    senders, receivers = (torch.tensor(np.concatenate(each))
                          for each in ((pairs.first, pairs.second), (pairs.second, pairs.first)))
    starts = range(len(product.irreps_in1))
    flat = torch.cat([h[:, degree**2 : (degree + 1) ** 2].mT.reshape(4, -1) for degree in starts], 1)
    terms = product(flat[senders], torch.cat((harmonics, turned)), torch.cat((S, S)).flatten(1))
    wanted = torch.zeros(4, terms.shape[1], dtype=torch.float64).index_add(0, receivers, terms)
    found = messages(S, h, harmonics @ torch.tensor(paths.form), pairs, paths)
    laid = torch.cat([found[:, start:stop].mT.reshape(4, -1) for start, stop in paths.rows], 1)
    torch.testing.assert_close(laid, wanted, rtol=1e-6, atol=1e-6)  # e3nn keeps its couplings in single precision


@pytest.mark.parametrize("sent", SENT[:2])
def test_slopes_of_messages_and_their_slopes_are_those_of_finite_differences(sent):
    _, paths = layer(sent)
    pairs, inputs = some_pairs(paths, n_pairs=4, channels=2)
    assert torch.autograd.gradcheck(lambda *x: messages(*x, pairs, paths), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: messages(*x, pairs, paths), inputs)


def test_scalars_send_the_harmonics_themselves():
    _, paths = layer()
    np.testing.assert_allclose(paths.form, np.eye(9), rtol=0, atol=1e-6)
    assert paths.scalars
    assert not layer("3x0e+3x1o")[1].scalars


def test_what_is_not_a_number_stays_so_in_single_precision():
    _, paths = layer()
    pairs, (S, h, K) = some_pairs(paths)
    S, h, K = (x.detach().float() for x in (S, h, K))
    K[3, 4] = float("nan")
    broken = messages(S, h, K, pairs, paths).isnan().any(dim=(1, 2))
    assert broken[pairs.first[3]]
    assert broken[pairs.second[3]]


def test_interpolation_is_exact_for_a_polynomial_of_fifth_degree_and_so_is_its_slope():
    knots, spacing = 20, 0.25
    at = torch.arange(knots, dtype=torch.float64) * spacing
    table = torch.stack((at**5 - 3 * at**2, 2 - at**4), 1)
    r = torch.tensor([[0.0], [0.01], [1.3], [2.5], [4.2], [4.75]], dtype=torch.float64, requires_grad=True)
    values = interpolated(table, r, Places(r, spacing, knots))
    torch.testing.assert_close(values, torch.cat((r**5 - 3 * r**2, 2 - r**4), 1), rtol=1e-11, atol=1e-9)
    (slope,) = torch.autograd.grad(values.sum(), r)
    torch.testing.assert_close(slope, 5 * r**4 - 6 * r - 4 * r**3, rtol=1e-10, atol=1e-9)


def test_knots_receive_the_gradients_of_values_and_of_slopes():
    generator = torch.Generator().manual_seed(1)
    table = torch.rand((12, 3), dtype=torch.float64, generator=generator, requires_grad=True)
    r = torch.tensor([[0.4], [1.7], [2.9]], dtype=torch.float64, requires_grad=True)
    weights = torch.rand((3, 3), dtype=torch.float64, generator=generator)

    def energy_and_slope(knots):
        values = interpolated(knots, r, Places(r, 0.3, 12)).pow(2) * weights
        (slope,) = torch.autograd.grad(values.sum(), r, create_graph=True)
        return values.sum(), slope.pow(2).sum()

    assert torch.autograd.gradcheck(energy_and_slope, [table])


def test_a_training_from_knots_has_the_energies_forces_and_slopes_of_one_without(monkeypatch):
    """The shipped student, 160 atoms: force errors of 1e-5 of the largest are far below any label's."""
    pytest.importorskip("mace")
    from atomflow import potentials
    from atomflow.build.nzsp import build_nzsp
    from atomflow.potentials.bonds import undirected
    from atomflow.potentials.edges import build_edges
    from atomflow.potentials.mace import shorter

    potential = potentials.load("atomflow-nzsp-zbo", device="cpu").with_dtype("float64")
    model = potential.model.requires_grad_(True)
    cell = build_nzsp(order="random", seed=3)
    shaken = cell.positions_A + np.random.default_rng(0).normal(scale=0.1, size=cell.positions_A.shape)
    edges = undirected(build_edges(shaken, cell.lattice_A[None], np.zeros(len(cell), int), 5.0, torch.device("cpu")))
    own = edges.as_edges()
    vectors = torch.tensor(shaken)[own.receivers] - torch.tensor(shaken)[own.senders] + own.images @ cell.lattice_A
    kinds = torch.tensor((cell.numbers[:, None] == model.atomic_numbers.numpy()).astype(float))

    def answers():
        leaf = vectors.clone().requires_grad_(True)
        way = shorter.ShorterMace(model)
        energies = way.node_energies(kinds, torch.zeros(len(cell), dtype=torch.int64), own.senders, own.receivers, leaf)
        (slope,) = torch.autograd.grad(energies.sum(), leaf, create_graph=True)
        model.zero_grad()
        (energies.pow(2).sum() / 1e3 + slope.pow(2).sum()).backward()
        weights = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return energies.detach(), slope.detach(), weights

    with_knots = answers()
    monkeypatch.setattr(shorter, "N_KNOTS", 10**6)
    for found, expected in zip(with_knots, answers(), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
        assert not torch.equal(found, expected)
