"""A student that grows: the larger one starts with the smaller one's energies, and all of it can learn."""

import json

import numpy as np
import pytest

from atomflow.cli.main import run
from atomflow.config import parse
from atomflow.distill import beginnings
from atomflow.distill import train as training
from atomflow.distill.config import StudentConfig
from atomflow.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("mace")
from mace_toys import R_MAX, make_mace, tiny_files  # noqa: E402

from atomflow.distill.growth import grow  # noqa: E402


def energies_of(model):
    """(2,) energies of two skewed cells by mace-torch's own forward pass."""
    import ase
    from mace import data
    from mace.tools import AtomicNumberTable, torch_geometric

    rng = np.random.default_rng(4)
    cells = [ase.Atoms("NaOZn", positions=rng.random((3, 3)) * 3, cell=np.diag([3.1, 3.4, 3.2]), pbc=True),
             ase.Atoms("Si2O3B", positions=rng.random((6, 3)) * 6, cell=[[7, 0, 0], [2, 6, 0], [0, 1, 8]], pbc=True)]
    table = AtomicNumberTable([5, 8, 11, 14, 15, 30, 40])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        graphs = [data.AtomicData.from_config(data.config_from_atoms(cell), table, R_MAX, heads=["Default"])
                  for cell in cells]
        graph = next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=2))).to_dict()
        return model(graph, compute_force=False)["energy"]
    finally:
        torch.set_default_dtype(before)


def wide(channels, message_degree=0):
    from e3nn import o3

    return o3.Irreps("+".join(f"{channels}x{degree}{'eo'[degree % 2]}" for degree in range(message_degree + 1)))


@pytest.mark.parametrize(("channels", "max_ell", "correlation"),
                         [(8, 1, 3), (13, 1, 2), (8, 3, 2), (12, 2, 3), (8, 1, 2)])
def test_the_grown_student_has_the_energies_of_the_small_one(channels, max_ell, correlation):
    small = make_mace(3)
    large = make_mace(8, max_ell=max_ell, correlation=correlation, hidden_irreps=wide(channels))
    drawn = energies_of(large)
    grow(small, large)
    found, wanted = energies_of(large), energies_of(small)
    assert (drawn - wanted).abs().min() > 1e-3  # before, it was another model
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("had", "degree", "channels", "max_ell", "correlation"),
                         [(0, 1, 8, 1, 2), (0, 1, 12, 2, 3), (1, 1, 11, 3, 3), (1, 2, 8, 2, 2)])
def test_a_student_grows_vectors_and_keeps_its_energies(had, degree, channels, max_ell, correlation):
    small = make_mace(3, hidden_irreps=wide(8, had), max_ell=min(max_ell, 2))
    large = make_mace(8, max_ell=max_ell, correlation=correlation, hidden_irreps=wide(channels, degree))
    drawn = energies_of(large)
    grow(small, large)
    found, wanted = energies_of(large), energies_of(small)
    assert (drawn - wanted).abs().min() > 1e-5
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
    energies_of(large).square().sum().backward()
    if channels == 8:  # what old channels shall hear of the vectors is weighed with zero, and learns at once
        assert (large.interactions[1].linear.weight.grad != 0).all()


def test_what_is_new_learns_from_the_first_step():
    """Two steps at most: what new channels send is weighed with zero, and that weight moves first."""
    small, large = make_mace(3), make_mace(8, max_ell=2, correlation=3, hidden_irreps=wide(12))
    grow(small, large)
    optimiser = torch.optim.SGD(large.parameters(), lr=1e-4)
    for _ in range(2):
        optimiser.zero_grad()
        energies_of(large).square().sum().backward()
        slopes = {name: p.grad.clone() for name, p in large.named_parameters() if p.grad is not None}
        optimiser.step()
    cubic = [slope for name, slope in slopes.items() if name.endswith("weights_max")]
    assert len(cubic) == 2
    assert all(slope[..., part].abs().max() > 0 for slope in cubic for part in (slice(0, 8), slice(8, 12)))
    radial = slopes["interactions.1.conv_tp_weights.layer2.weight"].view(-1, 3, 12)  # hidden, degree, channel
    assert (radial.abs().amax(0) > 0).all()


@pytest.mark.parametrize(("changes", "why"), [
    ({"hidden_irreps": "4"}, "4 channels where the one that it starts from has 8"),
    ({"correlation": 1}, "it can grow, not shrink"),
    ({"num_interactions": 1}, "num_interactions differs"),
    ({"r_max": 6.0}, "r_max differs"),
])
def test_what_cannot_grow_is_refused(changes, why):
    changes = {key: wide(int(value)) if key == "hidden_irreps" else value for key, value in changes.items()}
    with pytest.raises(InputError, match=why):
        grow(make_mace(3), make_mace(8, **changes))


def student(grow_from, **changes):
    raw = {"name": "big", "labelled": ["none.npz"], "grow_from": grow_from and str(grow_from), "channels": 8,
           "max_ell": 2, "correlation": 3, "cutoff_A": R_MAX, "trained_for": "tests"}
    return parse(StudentConfig, {**raw, **changes})


def test_training_is_told_where_to_start_and_keeps_the_zero_of_energy(tmp_path):
    [small] = tiny_files(tmp_path, 1)
    config = student(small)
    zero = beginnings.zero_of_energy_eV(config, [])
    assert zero == pytest.approx(dict(zip([5, 8, 11, 14, 15, 30, 40], np.linspace(-8, -1, 7), strict=True)), rel=1e-6)
    (tmp_path / "reference_energies.json").write_text(json.dumps(zero))
    assert training.arguments(config, tmp_path)[-1] == f"--grow_from={small}"


@pytest.mark.parametrize(("changes", "why"), [
    ({"channels": 4}, "channels is 8 in tiny-0.mace.npz, 4 here"),
    ({"correlation": 1}, "correlation is 2"),
    ({"cutoff_A": 6.0}, "cutoff_A must stay 4.5"),
    ({"layers": 3}, "layers must stay 2"),
    ({"elements": ["Na", "O"]}, "other elements"),
])
def test_a_start_of_the_wrong_shape_is_told_before_training(tmp_path, changes, why):
    [small] = tiny_files(tmp_path, 1)
    with pytest.raises(InputError, match=why):
        beginnings.zero_of_energy_eV(student(small, **changes), [])


@pytest.mark.parametrize(("degree", "sent"), [(0, "8x0e"), (1, "8x0e+8x1o"), (2, "8x0e+8x1o+8x2e")])
def test_what_atoms_send_reaches_mace_run_train(tmp_path, degree, sent):
    config = student(None, message_degree=degree)
    (tmp_path / "reference_energies.json").write_text('{"8": -1.0}')
    assert f"--hidden_irreps={sent}" in training.arguments(config, tmp_path)


@pytest.mark.parametrize(("changes", "why"), [
    ({"message_degree": 2, "max_ell": 1}, "message_degree cannot exceed max_ell"),
])
def test_messages_that_make_no_student_are_refused(changes, why):
    with pytest.raises(InputError, match=why):
        student(changes.pop("grow_from", None), **changes)


def test_an_unknown_start_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="atomflow-nzsp-0"):
        beginnings.portable_student("no-such")


def test_two_beginnings_exclude_each_other(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("name: a\nlabelled: [x.npz]\ntrained_for: t\nstart_from: b\ngrow_from: c\n")
    assert run(["potential", "train", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "m")]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_mace_run_train_begins_with_the_grown_weights(tmp_path, monkeypatch):
    from mace.cli import run_train

    from atomflow.distill.quick_training import install_growth

    [small] = tiny_files(tmp_path, 1)
    large = make_mace(8, max_ell=2, correlation=3)
    monkeypatch.setattr(run_train, "configure_model", lambda *arguments: (large, "about"))
    install_growth(str(small))
    model, about = run_train.configure_model("arguments")
    assert (model, about) == (large, "about")
    torch.testing.assert_close(energies_of(large), energies_of(make_mace(0)), rtol=1e-5, atol=0)


def test_growing_leaves_out_the_repulsion_of_the_small_one():
    """What is trained has none; the energies are those of the small one without its own."""
    from atomflow.potentials.repulsion import repulsion_radii_A, with_repulsion

    small = make_mace(3)
    pushing = with_repulsion(small, dict.fromkeys(["B", "O", "Na", "Si", "P", "Zn", "Zr"], 1.1))
    assert (energies_of(pushing) - energies_of(small)).max() > 1  # the cells are crowded
    large = make_mace(8, max_ell=2, correlation=3)
    grow(pushing, large)
    torch.testing.assert_close(energies_of(large), energies_of(small), rtol=1e-10, atol=0)
    assert repulsion_radii_A(large) is None
