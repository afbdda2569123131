"""The section of a card that pushes atoms into one another: toy potentials with a known hole, and with none."""

import numpy as np
import pytest
from ase.data import atomic_numbers, chemical_symbols

torch = pytest.importorskip("torch")
pytest.importorskip("matscipy")

from atomflow import potentials  # noqa: E402
from atomflow.distill.card_checks import close, runner  # noqa: E402
from atomflow.distill.card_checks.section import Context  # noqa: E402
from atomflow.distill.card_checks.settings import CardSettings  # noqa: E402
from atomflow.distill.frames import Frame, Labels  # noqa: E402
from atomflow.distill.sides import Here  # noqa: E402
from atomflow.potentials.base import Evaluation  # noqa: E402


class Pairs:
    """Σ f(r) over all pairs of atoms closer than 5 Å, whatever their elements."""

    needs_edges, cutoff_A, device, dtype = True, 5.0, torch.device("cpu"), torch.float64

    def __init__(self, of_distance):
        self.of_distance = of_distance
        self.identity = potentials.load("lennard-jones-argon").identity

    def with_dtype(self, dtype):
        return self

    def batch_model(self, numbers, owner, n_systems):
        self.owner, self.n_systems = torch.as_tensor(owner), n_systems
        return self

    def __call__(self, positions, lattices, edges, stress):
        lattice = lattices[self.owner[edges.senders]]
        images = torch.einsum("ei,eij->ej", edges.images, lattice)
        lengths = (positions[edges.receivers] - positions[edges.senders] + images).norm(dim=1)
        energy = torch.zeros(self.n_systems, dtype=torch.float64)
        energy.index_add_(0, self.owner[edges.senders], self.of_distance(lengths) / 2)
        return Evaluation(energy, torch.zeros_like(positions))


def wall(r):
    return 2 / r**4


def hole_below_0_9(r):
    """A wall whose top, 20 eV, is at 0.9 Å."""
    return 20 * torch.exp(-((r - 0.9) ** 2) / 0.1)


def dip_at_1_6(r):
    """Falls from 1.8 to 1.6 Å and climbs ever after."""
    return wall(r) - 6 * torch.exp(-((r - 1.6) ** 2) / 0.005)


def frame(symbols, positions, split, system, box=12.0, how="md"):
    labels = Labels(0.0, np.zeros((len(symbols), 3)), np.zeros((3, 3)))
    return Frame(np.array([atomic_numbers[s] for s in symbols]), np.array(positions, float), np.eye(3) * box, system,
                 "toy", how, split, labels=labels)  # fmt: skip


@pytest.fixture
def measured(tmp_path):
    """A function: the section of a toy on these frames."""

    def measure(of_distance, frames):
        toy = Pairs(of_distance)
        context = Context(toy, "toy", Here(toy, tmp_path / "student"), None, "not asked", CardSettings(), tmp_path,
                          lambda text: None, frames=frames)  # fmt: skip
        return runner.measure(context, ["close"])["close"]["section"]

    return measure


OXYGEN = [frame(["O", "O"], [[0, 0, 0], [1.3, 0, 0]], "train", "a"),
          frame(["O", "O"], [[0, 0, 0], [0, 2.2, 0]], "test", "b"),
          frame(["O", "O"], [[0, 0, 11.5], [0, 0, 1.3]], "test", "c")]


def test_a_known_hole_is_found_behind_its_wall(measured):
    section = measured(hole_below_0_9, OXYGEN)
    facts = section["facts"]
    assert facts["pairs_that_fall"] == ["O-O"]
    assert facts["smallest_climb_eV"] == pytest.approx(20.0, abs=0.1)
    paths = facts["pairs"]["O-O"]["paths"]
    assert [path["system"] for path in paths] == ["b", "c"]
    assert all(path["falls_at_A"] == pytest.approx(0.9, abs=close.STEP_A) for path in paths)
    assert section["rows"][0][:4] == ["O-O", "2", "1.30", "-"]
    assert "1 fall again" in section["lines"][0]
    assert section["figure_png"]


@pytest.mark.parametrize("energy", [wall, dip_at_1_6])
def test_what_climbs_below_the_trained_distance_is_no_hole(measured, energy):
    """A dip where the model was trained is its own affair."""
    section = measured(energy, OXYGEN)
    assert section["facts"]["pairs_that_fall"] == []
    assert section["facts"]["smallest_climb_eV"] is None
    assert "none falls again" in section["lines"][0]
    assert section["rows"][0][4:] == ["never", "-"]


@pytest.mark.parametrize(("sodium", "share"), [
    ([0.3, 1.6, 0], 0.5),  # farther than 1.48 Å all the way
    ([0.15, 1.475, 0], 0.0),  # the first would pass it; the second stops before
    ([1.2, 1.3, 0], None),  # in the way of both
])
def test_atoms_that_would_meet_a_third_one_are_not_pushed(measured, sodium, share):
    trained = frame(["O", "O", "Na"], [[0, 0, 0], [1.3, 0, 0], [-1.48, 0, 0]], "train", "a")
    asked = frame(["O", "O", "Na"], [[0, 0, 0], [2.4, 0, 0], sodium], "test", "b")
    section = measured(wall, [trained, asked])
    paths = section["facts"]["pairs"]["O-O"]["paths"]
    assert [path["share"] for path in paths] == ([] if share is None else [share])
    assert any(line.startswith("O-O") for line in section["missing"]) == (share is None)


@pytest.mark.parametrize("seed", range(4))
def test_paths_meet_nobody_by_another_neighbour_list(seed):
    """Crowded cells narrower than the paths are long: images count, those of the two themselves too."""
    from ase.neighborlist import neighbor_list

    rng = np.random.default_rng(seed)
    closest = {("Na", "Na"): 1.1, ("Na", "O"): 1.0, ("O", "O"): 0.9}
    frames = [frame(["Na", "Na", "O", "O"], rng.uniform(0, 4.2, (4, 3)), "test", f"s{k}", box=4.2) for k in range(12)]
    taken = [path for pair in closest for path in close.paths(pair, frames, closest)]
    assert len(taken) > 3
    for path in taken:
        first, second = path.atoms
        for positions, distance in zip(path.positions_A(), path.distances_A, strict=True):
            atoms = path.frame.to_ase()
            atoms.positions = positions
            i, j, lengths = neighbor_list("ijd", atoms, 4.0)
            of_both = ((i == first) & (j == second)) | ((i == second) & (j == first))
            pushed = of_both & (np.abs(lengths - distance) < 1e-9)
            assert pushed.sum() >= 2
            for a, b, length in zip(i[~pushed], j[~pushed], lengths[~pushed], strict=True):
                if a in path.atoms:
                    pair = tuple(sorted(chemical_symbols[path.frame.numbers[k]] for k in (a, b)))
                    assert length >= closest[pair] - 1e-9


def test_without_frames_it_says_so_and_the_smallest_go_first(measured):
    assert "no labelled frames" in measured(wall, [])["missing"][0]
    assert "no labelled frames" in measured(wall, OXYGEN[1:])["missing"][0]  # none that was trained on
    big = frame(["O"] * 5, np.arange(15).reshape(5, 3), "test", "d")
    still = frame(["O", "O"], [[0, 0, 0], [2, 0, 0]], "test", "e", how="rattle")
    assert [each.system for each in close.candidates([big, still, *OXYGEN])] == ["b", "c", "d"]


def test_the_price_counts_the_paths(tmp_path):
    toy = Pairs(wall)
    context = Context(toy, "toy", Here(toy, tmp_path), None, "", CardSettings(), tmp_path, print, frames=OXYGEN)
    assert close.work(context).student == pytest.approx(2 * close.PATHS * 44)
    assert close.work(Context(**{**context.__dict__, "frames": ()})).student == 0
