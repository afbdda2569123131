"""Do Zn and B part? Random labels, planted separation, planted alternation, films; and where the line stands."""

import numpy as np
import pytest

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.order import accept_glass, measure
from atomflow.order.frames import open_source
from atomflow.order.separation import separation

EDGE = 20.0


def grid(rng, n=5, jitter=0.4):
    """n³ places about 4 Å apart, none on top of another."""
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return (corners + 0.5 + jitter * (rng.random((n**3, 3)) - 0.5)) * EDGE / n


def cell(positions, zinc, regions=None):
    return Cell(np.where(zinc, 30, 5), positions, EDGE * np.eye(3), regions)


def ask(*cells, **options):
    return separation([open_source(one) for one in cells], **options)


def test_labels_dealt_at_random_are_called_separated_as_rarely_as_chance_allows():
    rng = np.random.default_rng(1)
    seen = 0
    for trial in range(120):
        positions = grid(rng)
        seen += ask(cell(positions, rng.permutation(125) < 31), seed=trial).seen
    assert seen <= 9  # 2.5 % of 120 are 3; ten or more would come once in a thousand


def test_a_planted_separation_is_seen_and_alternation_is_not():
    rng = np.random.default_rng(2)
    positions = grid(rng, 6)
    halves = ask(cell(positions, positions[:, 0] < EDGE / 3))
    assert halves.seen
    assert halves.p_value < 0.01
    assert halves.structure_factor.value > 5
    assert halves.like_neighbours.value > halves.like_chance[2]
    assert "part on the scale of the box (20 Å)" in halves.sentence
    parity = np.floor(positions / (EDGE / 6)).sum(1) % 2 == 0
    even = ask(cell(positions, parity))
    assert not even.seen
    assert even.structure_factor.value < even.chance[0]
    assert even.like_neighbours.value < even.like_chance[0]
    assert "more evenly mixed than chance" in even.sentence
    assert "longer waves do not fit" in even.sentence


def test_the_structure_factor_is_the_sum_written_out():
    """Against the definition, wave by wave, in a skew cell; and the mean over random labels is N/(N - 1)."""
    rng = np.random.default_rng(3)
    lattice = np.array([[9.0, 0, 0], [3.0, 8.0, 0], [-2.0, 1.0, 11.0]])
    positions, zinc = rng.random((40, 3)) @ lattice, np.arange(40) < 16
    found = separation([open_source(Cell(np.where(zinc, 30, 5), positions, lattice))])
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T
    vectors = np.array([[h, k, m] for h in range(-3, 4) for k in range(-3, 4) for m in range(-3, 4)
                        if (h, k, m) != (0, 0, 0)]) @ reciprocal  # fmt: skip
    lengths = np.linalg.norm(vectors, axis=1)
    chosen = vectors[lengths <= 1.5 * lengths.min() + 1e-9]
    deviation = zinc - 0.4
    strengths = [abs((deviation * np.exp(1j * positions @ k)).sum()) ** 2 / (40 * 0.24) for k in chosen]
    assert found.structure_factor.value == pytest.approx(np.mean(strengths), rel=1e-9)
    assert found.wavelength_A[0] == pytest.approx(2 * np.pi / lengths.min(), rel=1e-9)
    assert found.chance[1] == pytest.approx(40 / 39, rel=0.25)


def test_replicas_narrow_what_chance_allows():
    rng = np.random.default_rng(4)
    cells = [cell(grid(rng), rng.permutation(125) < 31) for _ in range(4)]
    one, four = ask(cells[0]), ask(*cells)
    assert four.chance[2] - four.chance[0] < 0.7 * (one.chance[2] - one.chance[0])
    assert four.structure_factor.low < four.structure_factor.value < four.structure_factor.high


def test_in_a_film_only_waves_in_its_plane_count():
    """A film between grains is no wave of concentration across the box."""
    rng = np.random.default_rng(5)
    positions = grid(rng, 6)
    film = positions[:, 2] < EDGE / 2
    regions = np.where(film, "glass", "grain_a")
    mixed = ask(cell(positions, rng.permutation(216) < 80, regions), region="glass")
    assert not mixed.seen
    assert mixed.n_cations == film.sum()
    assert ask(cell(positions, positions[:, 1] < EDGE / 3, regions), region="glass").seen
    across = ask(cell(positions, positions[:, 2] < EDGE / 4, regions), region="glass")
    assert not across.seen


def test_too_few_of_one_element_is_said():
    with pytest.raises(InputError, match="too few Zn or B"):
        ask(cell(grid(np.random.default_rng(0)), np.arange(125) < 1))


def borate(rng, separated):
    """A cell with enough of a glass in it to be judged: Zn and B on a grid, O beside each."""
    positions = grid(rng, 6)
    zinc = positions[:, 0] < EDGE / 3 if separated else rng.permutation(216) < 72
    oxygen = positions + np.where(zinc, 1.98, 1.37)[:, None] * np.array([0.6, 0.0, 0.8])
    return Cell(np.concatenate([np.where(zinc, 30, 5), np.full(216, 8)]), np.concatenate([positions, oxygen]),
                EDGE * np.eye(3), np.full(432, "glass"))  # fmt: skip


def test_the_acceptance_has_the_line_and_films_have_no_density_of_their_own():
    rng = np.random.default_rng(6)
    for separated, verdict in ((True, "fail"), (False, "pass")):
        found = accept_glass([borate(rng, separated) for _ in range(3)])
        line = next(line for line in found.lines if line.target.id == "mixing")
        assert line.verdict == verdict
        assert 1.0 < line.interval[1] < 2.0
        assert ("Zn/B concentration waves" in found.sentence) == separated
    whole = borate(rng, False)
    film = Cell(whole.numbers, whole.positions_A, whole.lattice_A,
                np.where(whole.positions_A[:, 2] < EDGE / 2, "glass", "grain_a"))  # fmt: skip
    lines = {line.target.id: line for line in accept_glass([film] * 3).lines}
    assert lines["density"].verdict == "cannot say"
    assert lines["density"].why == "a film has no box of its own"
    salted = Cell([*film.numbers, 11], [*film.positions_A, [1.0, 1.0, 19.0]], film.lattice_A,
                  [*film.regions, "grain_a"])  # fmt: skip
    assert list(measure(salted, region="glass").shells) == ["B-O", "Zn-O"]  # no Na in the film: no Na-O
