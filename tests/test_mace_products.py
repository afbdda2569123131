"""The product basis as polynomials against mace-torch's own contraction."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

from atomflow.potentials.mace import products  # noqa: E402
from atomflow.potentials.mace.imports import mace_module  # noqa: E402


def block(max_ell, hidden, correlation, n_elements=3, channels=4):
    """mace-torch's product block with weights as drawn, float64."""
    blocks = mace_module("modules.blocks")
    from e3nn import o3

    torch.manual_seed(7)
    messages = o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(max_ell + 1)])
    made = blocks.EquivariantProductBasisBlock(messages, o3.Irreps(hidden), correlation, False, n_elements)
    return made.double()


@pytest.mark.parametrize("hidden", ["4x0e", "4x0e+4x1o"])
@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("max_ell", [1, 2, 3])
def test_values_slopes_and_slopes_of_slopes_are_those_of_mace_torch(max_ell, hidden, correlation):
    own = block(max_ell, hidden, correlation)
    ours = products.PolynomialProduct(own)
    messages = torch.randn(5, 4, (max_ell + 1) ** 2, dtype=torch.float64, requires_grad=True)
    species = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 2, 2, 0])]
    parameters = [p for p in own.parameters() if p.requires_grad]

    def answers(way):
        values = way(messages, None, species)
        (slope,) = torch.autograd.grad((values**2).sum(), messages, create_graph=True)
        return values, slope, *torch.autograd.grad((slope**2).sum(), parameters, allow_unused=True)

    for mine, theirs in zip(answers(ours), answers(own), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6 * float(theirs.detach().abs().max()))


def test_equal_polynomials_are_formed_once():
    """For l ≤ 2 the scalars of three messages are s³, s|v|², s|Q|², vᵀQv and tr Q³; mace-torch counts eleven paths."""
    (part,) = products.PolynomialProduct(block(2, "4x0e", 3)).parts
    assert [tuple(paths.shape) for paths in part.paths] == [(1, 1), (3, 3), (5, 11)]


def test_trained_weights_take_part_at_once():
    own = block(2, "4x0e", 2)
    ours = products.PolynomialProduct(own)
    messages, species = torch.randn(2, 4, 9, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:2]
    before = ours(messages, None, species)
    with torch.no_grad():
        own.symmetric_contractions.contractions[0].weights_max.mul_(2)
    assert not torch.allclose(before, ours(messages, None, species))
    torch.testing.assert_close(ours(messages, None, species), own(messages, None, species), rtol=1e-6, atol=1e-9)


def test_products_of_four_messages_stay_with_mace_torch():
    assert products.has_polynomials(block(1, "4x0e", 3))
    assert not products.has_polynomials(block(1, "4x0e", 4))
