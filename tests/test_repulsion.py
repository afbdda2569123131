"""The short-range repulsion of a MACE: where it begins nothing changes, below it nothing falls together."""

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces
from mace_toys import ELEMENTS, make_mace

from atomflow import potentials
from atomflow.errors import InputError
from atomflow.potentials.ase_calculator import BatchCalculator
from atomflow.potentials.evaluate import evaluate_cells
from atomflow.potentials.mace.files import load_file, save_portable
from atomflow.potentials.mace.potential import from_module
from atomflow.potentials.repulsion import repulsion_radii_A, with_repulsion

RADII = {"B": 0.45, "O": 0.56, "Na": 0.89, "Si": 0.71, "P": 0.65, "Zn": 0.93, "Zr": 1.03}


def potential(model):
    return from_module(model.double(), name="toy", sha256="0" * 64, source="toy", device="cpu", dtype="float64")


def energy(of, symbols, distance_A):
    atoms = ase.Atoms(symbols, [[0, 0, 0], [distance_A, 0, 0]], cell=np.eye(3) * 12, pbc=True)
    return evaluate_cells(of, [atoms.numbers], [atoms.positions], [atoms.cell.array]).energy_eV.item()


def book(z1, z2, r, reach, p=5):
    """Screened repulsion in eV by the numbers of the book, with mace-torch's envelope written out."""
    a = 0.8854 * 0.529 / (z1**0.23 + z2**0.23)
    x = r / a
    screen = sum(c * np.exp(-k * x) for c, k in zip((0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016),
                                                     strict=True))  # fmt: skip
    u = r / reach
    fade = 1 - (p + 1) * (p + 2) / 2 * u**p + p * (p + 2) * u ** (p + 1) - p * (p + 1) / 2 * u ** (p + 2)
    return 14.3996 * z1 * z2 / r * screen * fade


@pytest.fixture(scope="module")
def both():
    """The same model without and with a repulsion."""
    plain = make_mace(3)
    return potential(plain), potential(with_repulsion(plain, RADII))


@pytest.mark.parametrize("symbols", ["OO", "NaO", "ZrB", "NaNa"])
def test_the_repulsion_is_that_of_the_book_and_ends_where_the_radii_say(both, symbols):
    plain, pushed = both
    pair = ase.Atoms(symbols)
    reach = RADII[pair[0].symbol] + RADII[pair[1].symbol]
    for share in (0.3, 0.6, 0.9):
        added = energy(pushed, symbols, share * reach) - energy(plain, symbols, share * reach)
        assert added == pytest.approx(book(*pair.numbers, share * reach, reach), rel=1e-6)
    for share in (1.0, 1.001, 1.5):
        assert energy(pushed, symbols, share * reach) == energy(plain, symbols, share * reach)


def test_forces_stress_and_the_model_s_own_way_agree_where_atoms_are_close(both):
    rng = np.random.default_rng(5)
    symbols = rng.choice(list(RADII), 9)
    atoms = ase.Atoms(symbols, rng.random((9, 3)) * 3.4, cell=np.eye(3) * 3.6, pbc=True)
    _, pushed = both
    assert pushed.shorter is not None
    atoms.calc = BatchCalculator(pushed)
    forces, stress, total = atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-5), rtol=1e-5, atol=1e-4)
    atoms.calc = pushed.calculator()
    assert atoms.get_potential_energy() == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(atoms.get_stress(), stress, rtol=1e-7, atol=1e-9)


def test_a_pair_that_fell_together_no_longer_does():
    plain = make_mace(0)  # of random weights: it draws two sodium atoms together
    distances = np.arange(0.3, 1.3, 0.05)
    positions = [np.array([[0, 0, 0], [r, 0, 0]]) for r in distances]
    pairs = [np.array([11, 11])] * len(positions), positions, [np.eye(3) * 12] * len(positions)
    without, having = (
        evaluate_cells(potential(model), *pairs)
        for model in (plain, with_repulsion(plain, RADII))
    )
    assert (np.diff(without.energy_eV.numpy()) > 0).any()
    assert (np.diff(having.energy_eV.numpy()) < 0).all()


def test_a_portable_file_keeps_it_and_needs_no_pickle(tmp_path, both):
    _, pushed = both
    path = save_portable(pushed.model, tmp_path / "pushed.mace.npz")
    again = load_file(path, device="cpu", dtype="float64")
    assert energy(again, "OO", 0.7) == pytest.approx(energy(pushed, "OO", 0.7), rel=1e-12)
    assert repulsion_radii_A(again.model) == pytest.approx(RADII)
    assert repulsion_radii_A(potentials.load("atomflow-nzsp-0", device="cpu").model) is None


def test_the_model_given_is_not_changed_and_a_second_repulsion_replaces_the_first():
    plain = make_mace(1)
    first = with_repulsion(plain, RADII)
    second = with_repulsion(first, {symbol: radius / 2 for symbol, radius in RADII.items()})
    assert not hasattr(plain, "pair_repulsion_fn")
    assert repulsion_radii_A(first)["O"] == pytest.approx(0.56)
    assert repulsion_radii_A(second)["O"] == pytest.approx(0.28)
    assert energy(potential(second), "OO", 0.8) == energy(potential(plain), "OO", 0.8)


def test_bad_radii_are_refused_in_one_line():
    model = make_mace(1)
    with pytest.raises(InputError, match="no radius of repulsion for B, Zr"):
        with_repulsion(model, dict.fromkeys(("O", "Na", "Si", "P", "Zn"), 0.5))
    with pytest.raises(InputError, match="as far as the model's cutoff"):
        with_repulsion(model, {**RADII, "Zr": 2.3})
    with pytest.raises(InputError, match="Linear"):
        with_repulsion(torch.nn.Linear(2, 2), RADII)
    assert len(RADII) == len(ELEMENTS)
