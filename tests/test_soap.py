"""SOAP over the matrices in e3nn's flat weights: which they are, that it descends, that it goes on after a restart."""

import copy

import pytest
import torch

pytest.importorskip("mace")
pytest.importorskip("pytorch_optimizer")

from mace_toys import make_mace

from atomflow.distill.soap import ShapedSoap, matrix_shapes


def test_the_shapes_are_those_with_which_e3nn_multiplies():
    """A layer's outputs from its matrices one by one, each scaled by the root of its inputs' number."""
    layer = make_mace(2, max_ell=2).float().interactions[1].linear
    shapes = matrix_shapes(layer)[layer.weight]
    assert len(shapes) == 3
    x = torch.rand((4, layer.irreps_in.dim), dtype=torch.float32)
    parts, start = [], 0
    for (n_in, n_out), block in zip(shapes, layer.irreps_in.slices(), strict=True):
        matrix = layer.weight[start : start + n_in * n_out].view(n_in, n_out) / n_in**0.5
        components = (block.stop - block.start) // n_in
        parts.append(torch.einsum("nim,io->nom", x[:, block].view(4, n_in, components), matrix).reshape(4, -1))
        start += n_in * n_out
    torch.testing.assert_close(layer(x), torch.cat(parts, 1), rtol=1e-5, atol=1e-6)


def ill_conditioned(n=24, m=20, seed=0):
    """A row that holds an n x m matrix W, and |A W B - C|² with A and B stretched tenfold along directions askew."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    def stretched(size):
        return torch.linalg.qr(draw(size, size))[0] * torch.logspace(0, -1, size) @ torch.linalg.qr(draw(size, size))[0]

    A, B = stretched(n), stretched(m)
    goal, row = A @ draw(n, m) @ B, torch.nn.Parameter(torch.zeros(n * m))
    return row, lambda: (A @ row.view(n, m) @ B - goal).pow(2).sum()


def descend(optimizer, loss, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    return float(value.detach())


def test_with_the_shape_known_it_goes_down_where_adam_is_held_up():
    row, loss = ill_conditioned()
    soap = descend(ShapedSoap([{"params": [row]}], 0.03, {row: [(24, 20)]}), loss, 400)
    row, loss = ill_conditioned()
    adam = descend(torch.optim.Adam([row], lr=0.03), loss, 400)
    assert soap < 0.01 * adam


def test_a_restarted_training_goes_on_as_if_it_had_not_stopped():
    row, loss = ill_conditioned()
    optimizer = ShapedSoap([{"params": [row], "name": "all", "lr": 0.01}], 1.0, {row: [(12, 20), (12, 20)]})
    descend(optimizer, loss, 25)
    state, weights = copy.deepcopy(optimizer.state_dict()), row.detach().clone()
    through = descend(optimizer, loss, 25)
    again, loss = ill_conditioned()
    again.data.copy_(weights)
    optimizer = ShapedSoap([{"params": [again]}], 1.0, {again: [(12, 20), (12, 20)]})
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert descend(optimizer, loss, 25) == through
    torch.testing.assert_close(again, row, rtol=0, atol=0)
