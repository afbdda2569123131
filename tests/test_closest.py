"""How close atoms come in a set, the radii that follow, and what a model with them says; beside brute force."""

import itertools
import json

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii

from atomflow.cli.main import run
from atomflow.distill import closest
from atomflow.distill.frames import Frame, Labels, write_frames
from atomflow.errors import InputError

ELEMENTS = ("B", "O", "Na", "Si", "P", "Zn", "Zr")


def frame(symbols, positions, lattice, split="train", force=0.1, how="md", system="s"):
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    labels = Labels(0.0, np.full((len(numbers), 3), force), np.zeros((3, 3)))
    return Frame(numbers, np.array(positions, float), np.array(lattice, float), system, "toy", how, split,
                 labels=labels)  # fmt: skip


def random_frames(count=6, atoms=7, seed=0):
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        lattice = np.diag(rng.uniform(3.0, 6.5, 3)) + rng.normal(0, 0.7, (3, 3))
        frames.append(frame(rng.choice(ELEMENTS, atoms), rng.normal(0, 4, (atoms, 3)), lattice, system=f"s{k}"))
    return frames


def brute_force_A(frames, images=4):
    found = {}
    for each in frames:
        symbols = [next(s for s in ELEMENTS if atomic_numbers[s] == z) for z in each.numbers]
        shifts = np.array(list(itertools.product(range(-images, images + 1), repeat=3))) @ each.lattice_A
        for i, j in itertools.product(range(each.n_atoms), repeat=2):
            way = each.positions_A[j] - each.positions_A[i]
            lengths = np.linalg.norm(way - np.round(way @ np.linalg.inv(each.lattice_A)) @ each.lattice_A + shifts,
                                     axis=1)  # fmt: skip
            pair = tuple(sorted((symbols[i], symbols[j])))
            found[pair] = min(found.get(pair, np.inf), lengths[lengths > 1e-9].min())
    return found


def test_closest_distances_are_those_of_all_images():
    frames = random_frames()
    found, wanted = closest.closest_distances_A(frames), brute_force_A(frames)
    assert all(found[pair] == pytest.approx(wanted[pair], abs=1e-9) for pair in found)
    far = set(wanted) - set(found)
    assert len(found) > 15
    assert all(wanted[pair] > sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair) for pair in far)


def test_an_atom_s_own_image_counts():
    assert closest.closest_distances_A([frame(["O"], [[0, 0, 0]], np.diag([1.2, 5, 5]))]) == {("O", "O"): 1.2}


def test_two_elements_solved_by_hand():
    """O-O 1.2 and Na-O 1.5: equal shares of t need 2 r_O = 1.2 t and r_Na + r_O = 1.5; the covalent Na-Na, 3.32, is
    never seen: 2 r_Na = 3.32 t. So 0.6 t + 1.66 t = 1.5."""
    found = closest.largest_radii_A({("O", "O"): 1.2, ("Na", "O"): 1.5}, ("O", "Na"))
    share = (1.5 - closest.MARGIN_A) / (0.6 + 1.66)
    assert found == pytest.approx({"O": 0.6 * share, "Na": 1.66 * share}, abs=1e-3)


def test_one_element_reaches_its_closest_distance_and_no_more_than_the_covalent_one():
    assert closest.largest_radii_A({("O", "O"): 1.0}, ["O"])["O"] == pytest.approx(0.5 - closest.MARGIN_A / 2)
    assert closest.largest_radii_A({("O", "O"): 3.0}, ["O"])["O"] == pytest.approx(covalent_radii[8])


@pytest.mark.parametrize("seed", range(8))
def test_no_trained_pair_is_in_reach_and_nothing_could_be_gained_by_one_element(seed):
    rng = np.random.default_rng(seed)
    seen = {pair: float(rng.uniform(0.9, 2.6)) for pair in closest.pairs_of(ELEMENTS) if rng.random() < 0.8}
    radii = closest.largest_radii_A(seen, ELEMENTS)
    assert all(radii[a] + radii[b] <= distance - 0.9 * closest.MARGIN_A for (a, b), distance in seen.items())
    assert min(radii.values()) > 0.1  # no element goes without
    for symbol, radius in radii.items():
        assert radius <= covalent_radii[atomic_numbers[symbol]] + 1e-9
        bound = [seen[pair] - sum(radii[s] for s in pair) < 2 * closest.MARGIN_A for pair in seen if symbol in pair]
        assert any(bound) or radius == pytest.approx(covalent_radii[atomic_numbers[symbol]])


def test_no_pair_of_the_elements_is_an_error():
    with pytest.raises(InputError, match="no two atoms of Na, O"):
        closest.largest_radii_A({("B", "B"): 1.0}, ("O", "Na"))


def test_only_what_was_trained_on_counts():
    here = [frame(["O", "O"], [[0, 0, 0], [x, 0, 0]], np.eye(3) * 9, split, force)
            for x, split, force in ((1.3, "train", 1.0), (1.0, "test", 1.0), (1.1, "train", 30.0))]
    assert closest.closest_distances_A(closest.shown(here)) == pytest.approx({("O", "O"): 1.3})
    assert closest.closest_distances_A(closest.shown(here, 40.0)) == pytest.approx({("O", "O"): 1.1})


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick():
    """Models of one shape are built once."""
    pytest.importorskip("torch")
    pytest.importorskip("mace")
    from mace_toys import built_once

    with built_once():
        yield


@pytest.fixture
def tiny(tmp_path, quick):
    from mace_toys import tiny_files

    return tiny_files(tmp_path, 1)[0]


def crowd(count=4, seed=1):
    """Frames of all elements on a shaken grid."""
    rng = np.random.default_rng(seed)
    grid = np.array(list(itertools.product(range(3), repeat=3)))[:21] * 2.1
    return [frame(rng.permutation(ELEMENTS * 3), grid + rng.normal(0, 0.2, grid.shape), np.eye(3) * 6.6,
                  "test" if k == 0 else "train", system=f"s{k}") for k in range(count)]


def energies(file, frames):
    from atomflow import potentials
    from atomflow.potentials.evaluate import evaluate_cells

    model = potentials.load(file, device="cpu")
    return [evaluate_cells(model, [f.numbers], [f.positions_A], [f.lattice_A]).energy_eV.item() for f in frames]


def test_the_command_changes_no_trained_energy_and_pushes_what_is_closer(tiny, tmp_path, capsys):
    frames, out = crowd(), tmp_path / "safe.mace.npz"
    write_frames(frames, tmp_path / "set.npz")
    assert run(["potential", "add-repulsion", str(tiny), str(tmp_path / "set.npz"), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 3
    assert len(told["pairs"]) == 28
    assert all(row["closest_A"] is None or row["reach_A"] < row["closest_A"] for row in told["pairs"])
    assert energies(out, frames[1:]) == energies(tiny, frames[1:])
    radii = told["radii_A"]
    near = frame(["Na", "O"], [[0, 0, 0], [0.8 * (radii["Na"] + radii["O"]), 0, 0]], np.eye(3) * 10)
    assert energies(out, [near])[0] > energies(tiny, [near])[0] + 0.1
    assert run(["potential", "show", str(out)]) == 0
    assert f"Na {radii['Na']:.2f}" in capsys.readouterr().out
    assert run(["potential", "show", str(tiny), "--json"]) == 0
    assert "repulsion_radii_A" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("model", "labelled", "out", "message"), [
    ("none.mace.npz", "set.npz", "o.mace.npz", "neither a .mace.npz file nor one of"),
    ("tiny-0.mace.npz", "none.npz", "o.mace.npz", "cannot read"),
    ("tiny-0.mace.npz", "set.npz", "o.model", "ends in .mace.npz"),
    ("tiny-0.mace.npz", "set.npz", "there/is/none/o.mace.npz", "in a folder that is there"),
    ("tiny-0.mace.npz", "held.npz", "o.mace.npz", "no frame of the training split"),
])
def test_what_cannot_be_done_is_one_line(tiny, tmp_path, monkeypatch, capsys, model, labelled, out, message):
    monkeypatch.chdir(tmp_path)
    write_frames(crowd(2), "set.npz")
    write_frames(crowd(1), "held.npz")
    assert run(["potential", "add-repulsion", model, labelled, "-o", out]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


# --- students as they are trained ------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, monkeypatch, quick):
    """A function that trains at once (random weights) on a crowd, and exports; the radii in what was exported."""
    import torch
    from mace_toys import make_mace

    from atomflow.config import parse
    from atomflow.distill import train as training
    from atomflow.distill.config import StudentConfig

    module = make_mace()

    def run_train(options, config, folder, progress):
        (folder / "checkpoints").mkdir(exist_ok=True)
        torch.save(module, folder / "checkpoints" / f"{config.name}_run-{config.seed}.model")

    monkeypatch.setattr(training, "_run", run_train)

    def train(frames, name="toy", **changes):
        write_frames(frames, tmp_path / f"{name}.npz")
        raw = {"name": name, "labelled": [str(tmp_path / f"{name}.npz")], "trained_for": "tests", "cutoff_A": 4.5,
               "validation_fraction": 0.3, "batch_size": 1}  # fmt: skip
        config = parse(StudentConfig, {**raw, **changes})
        training.train(config, tmp_path / name)
        path = training.export(tmp_path / name, config)
        return path, [closest.radii_in(file) for file in sorted((tmp_path / name).glob("*.mace.npz"))]

    return train


def test_every_exported_student_repels_as_its_own_frames_say(trained):
    frames = crowd(6)
    _, members = trained(frames, committee=2)
    wanted = closest.largest_radii_A(closest.closest_distances_A(frames[1:]), ELEMENTS)
    assert members == [pytest.approx(wanted, abs=1e-5)] * 2  # whatever the members' validation frames were
    assert trained(frames, "bare", repulsion=False)[1] == [None]


def test_a_student_that_goes_on_from_another_repels_no_farther(trained):
    wide = crowd(4)
    tight = [frame(["O", "O", "Zr"], [[0, 0, 0], [1.1, 0, 0], [4, 4, 4]], np.eye(3) * 8, system=f"t{k}")
             for k in range(2)]  # fmt: skip
    first, [narrow] = trained([*wide, *tight], "first")
    shape = {"channels": 8, "max_ell": 1, "correlation": 2}
    second, [grown] = trained(wide, "second", grow_from=str(first), **shape)
    assert narrow["O"] < closest.largest_radii_A(closest.closest_distances_A(wide[1:]), ELEMENTS)["O"] - 0.05
    assert all(grown[symbol] <= narrow[symbol] + 1e-6 for symbol in ELEMENTS)
    assert energies(second, tight) == pytest.approx(energies(second, tight[:1]) * 2)
