"""Potentials against their own ASE calculators, against finite differences, and on the awkward cells."""

import http.server
import json
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress

from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.potentials import registry, trust
from atomflow.potentials.base import Edges

torch = pytest.importorskip("torch")
pytest.importorskip("matscipy")
if find_spec("mace") is None:  # importing it would switch torch's safe loading off
    pytest.skip("mace-torch is not installed", allow_module_level=True)

from mace_toys import R_MAX, make_mace  # noqa: E402

from atomflow.potentials import foundation, load, mace, mace_files  # noqa: E402
from atomflow.potentials.check import check  # noqa: E402
from atomflow.potentials.edges import build_edges  # noqa: E402
from atomflow.potentials.evaluate import evaluate_cells  # noqa: E402
from atomflow.potentials.mace_import import mace_module  # noqa: E402
from atomflow.potentials.pair import LennardJones  # noqa: E402

STRUCTURES = Path(__file__).parents[1] / "structures"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOMFLOW_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def module():
    return make_mace()


@pytest.fixture(scope="module")
def pickled(module, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.model"
    torch.save(module, path)
    return path


@pytest.fixture(scope="module")
def small():
    """Two formula units of rock salt in a triclinic cell narrower than every cutoff used here, atoms displaced."""
    atoms = bulk("NaCl", "rocksalt", a=5.6).repeat((1, 1, 2))
    atoms.numbers[atoms.numbers == 17] = 8
    rng = np.random.default_rng(1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.06, (3, 3))), scale_atoms=True)
    atoms.rattle(0.15, seed=2)
    widths = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    assert widths.min() < R_MAX
    return atoms


@pytest.fixture(scope="module")
def nzsp():
    """The 80 atoms of ordered C2/c Na3Zr2Si2PO12, displaced."""
    import ase.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = ase.io.read(STRUCTURES / "NZSP_C2c_ordered_DFTcoords_PDF84-1200cell.cif")
    atoms = Atoms(read.numbers, positions=read.positions, cell=read.cell, pbc=True)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.fixture(scope="module", params=["mace", "chgnet"])
def double(request, module):
    """Each machine-learned potential in float64, on the CPU."""
    if request.param == "chgnet":
        pytest.importorskip("chgnet")
        return load("chgnet", device="cpu", dtype="float64")
    return mace.from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")


def flat(*systems):
    owner = np.repeat(np.arange(len(systems)), [len(a) for a in systems])
    return (np.concatenate([a.numbers for a in systems]), np.concatenate([a.positions for a in systems]),
            np.array([a.cell.array for a in systems]), owner)


def evaluate(potential, *systems, skin_A=0.0, stress=True):
    numbers, positions, lattices, owner = flat(*systems)
    model = potential.batch_model(numbers, owner, len(systems))
    edges = build_edges(positions, lattices, owner, model.cutoff_A + skin_A, model.device)
    return model(torch.tensor(positions), torch.tensor(lattices), edges, stress)


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
        np.testing.assert_allclose(ours.stress_eV_per_A3[0], stress, rtol=0, atol=1e-12 * np.abs(stress).max())


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
    np.testing.assert_allclose(loose.energy_eV, tight.energy_eV, rtol=1e-13)
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


@pytest.mark.parametrize("changes", [{}, {"correlation": 3, "num_interactions": 1}, {"distance_transform": "Agnesi"}])
def test_the_shorter_way_through_a_scalar_mace_is_the_model(changes, small, nzsp):
    model = make_mace(seed=4, max_ell=2, **changes)
    potential = mace.from_module(model, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    assert potential.shorter is not None
    whole = replace(potential, shorter=None)
    ours, theirs = evaluate(potential, small, nzsp), evaluate(whole, small, nzsp)
    np.testing.assert_allclose(ours.energy_eV, theirs.energy_eV, rtol=1e-13)
    scale = float(theirs.forces_eV_per_A.abs().max())
    np.testing.assert_allclose(ours.forces_eV_per_A, theirs.forces_eV_per_A, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(ours.stress_eV_per_A3, theirs.stress_eV_per_A3, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("make", ["vectors", "density"])
def test_a_mace_of_another_make_takes_its_own_way(make, small):
    blocks = mace_module("modules").interaction_classes
    from e3nn import o3

    changes = {
        "vectors": {"hidden_irreps": o3.Irreps("4x0e + 4x1o")},
        "density": {
            "interaction_cls": blocks["RealAgnosticDensityResidualInteractionBlock"],
            "interaction_cls_first": blocks["RealAgnosticDensityInteractionBlock"],
        },
    }
    model = make_mace(**changes[make])
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
    np.testing.assert_allclose(answer.stress_eV_per_A3[0], answer.stress_eV_per_A3[1], rtol=1e-10)


# --- files, trust, names -----------------------------------------------------------------------------------------


def test_a_pickled_model_needs_trust_once(pickled):
    with pytest.raises(InputError, match="--trust-model"):
        load(pickled, device="cpu")
    first = load(pickled, device="cpu", trust_model=True)
    assert first.identity.sha256 == trust.file_sha256(pickled)
    assert load(pickled, device="cpu").identity == first.identity


def test_a_pickle_of_unknown_checksum_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save(Bomb(), tmp_path / "bomb.model")
    with pytest.raises(InputError, match="runs code"):
        load(tmp_path / "bomb.model", device="cpu")
    assert not (tmp_path / "exploded").exists()


def test_a_portable_file_needs_no_trust_and_gives_identical_forces(module, small, tmp_path):
    path = mace_files.save_portable(module.double(), tmp_path / "tiny.mace.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert json.loads(str(archive["__settings__"]))["arguments"]["interaction_cls"].endswith("Block")
    again = load(path, device="cpu", dtype="float64")
    original = mace.from_module(module, name="tiny", sha256="0" * 64, source="test", device="cpu", dtype="float64")
    ours, theirs = evaluate(again, small), evaluate(original, small)
    assert again.identity.name == "tiny"
    np.testing.assert_allclose(ours.energy_eV, theirs.energy_eV, rtol=1e-14)
    np.testing.assert_allclose(ours.forces_eV_per_A, theirs.forces_eV_per_A, rtol=0, atol=1e-15)


def test_a_portable_file_cannot_name_any_other_code(module, tmp_path):
    path = mace_files.save_portable(module, tmp_path / "tiny.mace.npz")
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    settings = json.loads(str(arrays["__settings__"]))
    settings["arguments"]["interaction_cls"] = "Callable"
    arrays["__settings__"] = np.array(json.dumps(settings))
    np.savez(tmp_path / "evil.mace.npz", **arrays)
    with pytest.raises(InputError, match="does not have"):
        load(tmp_path / "evil.mace.npz", device="cpu")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.model", b"", "no model that torch can open"),
        ("text.model", b"not a model", "no model that torch can open"),
        ("text.mace.npz", b"not a model", "no portable MACE model"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / name, device="cpu", trust_model=True)
    assert "\n" not in str(caught.value)


def test_what_is_no_mace_model_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.model")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "linear.model")
    for name, message in (("checkpoint.model", "holds a dict"), ("linear.model", "no MACE model")):
        with pytest.raises(InputError, match=message):
            load(tmp_path / name, device="cpu", trust_model=True)


def test_heads_are_chosen_by_name():
    several = type("Several", (), {"heads": ["mp", "omat"]})()
    assert mace.choose_head(several, "omat", "m.model") == 1
    with pytest.raises(InputError, match=r"m\.model#mp"):
        mace.choose_head(several, None, "m.model")
    with pytest.raises(InputError, match="did you mean 'omat'"):
        mace.choose_head(several, "oamt", "m.model")


def test_the_identity_leads_back_to_the_same_potential(pickled):
    first = load(f"{pickled}#Default", device="cpu", trust_model=True)
    again = load(first.identity.source, device="cpu", dtype=first.identity.dtype)
    assert again.identity == first.identity
    assert first.identity.name == "tiny#Default"
    with pytest.raises(InputError, match="has no head 'mp'"):
        load(f"{pickled}#mp", device="cpu")


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'mace-mpa-0-medium'"):
        load("mace-mpa-0-medum")
    with pytest.raises(InputError, match="no model file"):
        load("nowhere/my.model")
    with pytest.raises(InputError, match="float32 or float64"):
        load("lennard-jones-argon", dtype="float16")
    with pytest.raises(InputError, match="no device"):
        load("lennard-jones-argon", device="tpu9")
    with pytest.raises(InputError, match="float32 or float64"):
        load("mace-mpa-0-medium", dtype="float16")


def test_every_entry_of_the_registry_is_complete():
    for name, known in registry.entries().items():
        assert known.trained_for, name
        assert known.reference, name
        assert ((known.url or known.file) is not None) == (known.kind == "mace"), name
        assert known.shipped is None or trust.file_sha256(known.shipped) == known.sha256, name
    assert registry.DEFAULT in registry.entries()


def test_a_name_wins_over_a_file_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "lennard-jones-argon").write_text("not a model")
    monkeypatch.chdir(tmp_path)
    assert load("lennard-jones-argon", device="cpu").identity.kind == "pair"


# --- downloads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(pickled):
    """A server on this machine that has one model, one truncated one, and one web page."""
    content = pickled.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("gone.model"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if "page" in self.path else "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if "half" in self.path else content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def entry_for(url, **changes):
    facts = {"kind": "mace", "elements": "7", "trained_for": "tests", "reference": "none", "licence": "MIT"}
    return registry.Entry(**{**facts, "url": url, **changes})


def test_a_model_is_downloaded_once_and_its_checksum_recorded(server, pickled, monkeypatch):
    known = entry_for(f"{server}/tiny.model")
    monkeypatch.setattr(registry, "entries", lambda: {"tiny": known})
    with pytest.raises(InputError, match="--trust-model"):
        load("tiny", device="cpu")
    loaded = load("tiny", device="cpu", trust_model=True)
    assert loaded.identity.source == f"{server}/tiny.model"
    path = foundation.cache_path(known)
    assert path.read_bytes() == pickled.read_bytes()
    assert path.with_name("tiny.model.sha256").read_text().split()[0] == loaded.identity.sha256
    monkeypatch.setattr(foundation, "_download", lambda *arguments: pytest.fail("downloaded twice"))
    load("tiny", device="cpu")
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="has changed"):
        load("tiny", device="cpu")


def test_a_pinned_checksum_needs_no_trust_and_refuses_another_file(server, pickled, monkeypatch):
    known = entry_for(f"{server}/tiny.model", sha256=trust.file_sha256(pickled))
    monkeypatch.setattr(registry, "entries", lambda: {"tiny": known})
    assert load("tiny", device="cpu").identity.name == "tiny"
    monkeypatch.setattr(registry, "entries", lambda: {"tiny": entry_for(f"{server}/tiny.model", sha256="0" * 64)})
    with pytest.raises(InputError, match="damaged or another file"):
        load("tiny", device="cpu", trust_model=True)


@pytest.mark.parametrize(
    ("file", "message"),
    [("half.model", "connection broke"), ("page.model", "web page"), ("gone.model", "answers 404")],
)
def test_a_bad_download_leaves_nothing_behind(server, file, message):
    known = entry_for(f"{server}/{file}")
    with pytest.raises(InputError, match=message) as caught:
        foundation.cached_file("tiny", known)
    assert "\n" not in str(caught.value)
    assert not list(foundation.cache_path(known).parent.iterdir())


def test_offline_says_in_one_line_how_to_bring_the_file(monkeypatch, capsys):
    def refuse(*arguments, **keywords):
        raise foundation.urllib.error.URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setattr(foundation.urllib.request, "urlopen", refuse)
    assert run(["potential", "check", "mace-mpa-0-medium", str(STRUCTURES / "Na_bcc.cif")]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    for part in ("Network is unreachable", "https://github.com/ACEsuit/", "cache/models/mace-mpa-0-medium.model",
                 "-p /path/to/mace-mpa-0-medium.model --trust-model"):
        assert part in line


# --- the command line --------------------------------------------------------------------------------------------


def test_list_and_show_need_no_torch():
    code = ("import sys; from atomflow.cli.main import run; assert run(['potential', 'list', '--json']) == 0; "
            "assert run(['potential', 'show', 'chgnet', '--json']) == 0; "
            "sys.exit('torch' in sys.modules or 'pymatgen' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, shown = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    assert "chgnet" in [each["name"] for each in names["potentials"]]
    assert shown["kind"] == "chgnet"


def test_importing_mace_prints_nothing_and_leaves_torchs_safe_loading_on():
    code = ("import os; from atomflow.potentials.mace_import import mace_module; mace_module('modules'); "
            "assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ")
    clean = {key: value for key, value in os.environ.items() if key != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_evaluate_writes_what_ase_reads(pickled, small, tmp_path, capsys):
    import ase.io

    frames = [small.copy() for _ in range(3)]
    for index, frame in enumerate(frames):
        frame.positions[0, 2] += 0.1 * index
        frame.info["tag"] = index
    ase.io.write(tmp_path / "frames.extxyz", frames)
    out = tmp_path / "out.extxyz"
    command = ["potential", "evaluate", str(pickled), str(tmp_path / "frames.extxyz"), "-o", str(out), "--json"]
    command += ["--dtype", "float64", "--device", "cpu"]
    assert run(command) == 2
    assert run([*command, "--trust-model"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 3
    potential = load(pickled, device="cpu", dtype="float64")
    calculator = potential.calculator()
    for index, frame in enumerate(ase.io.read(out, index=":")):
        reference = frames[index].copy()
        reference.calc = calculator
        assert frame.info["tag"] == index
        assert frame.get_potential_energy() == pytest.approx(reference.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(frame.get_forces(), reference.get_forces(), rtol=0, atol=1e-7)
        np.testing.assert_allclose(frame.get_stress(), reference.get_stress(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("frames", "out", "message"),
    [
        ("missing.xyz", "out.extxyz", "no file"),
        ("molecule.xyz", "out.extxyz", "periodic"),
        ("astatine.xyz", "out.extxyz", "does not know At"),
        ("astatine.xyz", "out.cif", "extended XYZ"),
        ("astatine.xyz", "nowhere/out.extxyz", "does not exist"),
        ("broken.xyz", "out.extxyz", "cannot read frames"),
    ],
)
def test_evaluate_says_what_is_wrong(tmp_path, capsys, frames, out, message):
    pytest.importorskip("chgnet")
    (tmp_path / "molecule.xyz").write_text("1\n\nNa 0 0 0\n")
    (tmp_path / "astatine.xyz").write_text('1\nLattice="3 0 0 0 3 0 0 0 3"\nAt 0 0 0\n')
    (tmp_path / "broken.xyz").write_text('2\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 0\n')
    code = run(["potential", "evaluate", "chgnet", str(tmp_path / frames), "-o", str(tmp_path / out)])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert message in error
    assert not (tmp_path / out).exists()


def test_check_on_the_command_line(pickled, small, tmp_path, capsys):
    from atomflow.cell import write_cell

    cell = write_cell(Cell(small.numbers, small.positions, small.cell.array), tmp_path / "cell.extxyz")
    assert run(["potential", "check", str(pickled), str(cell), "--device", "cpu", "--json", "--trust-model"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "good"
    assert report["atoms"] == len(small)
    assert report["identity"]["dtype"] == "float32"


def test_check_finds_forces_that_are_not_the_slope(small):
    class Wrong(LennardJones):
        def pair_energy(self, r_A):
            energy, slope = super().pair_energy(r_A)
            return energy, 1.01 * slope

        def with_dtype(self, dtype):
            return Wrong(self.epsilon_eV, self.sigma_A, self.cutoff_A, device="cpu", dtype=dtype)

    cell = Cell(small.numbers, small.positions, small.cell.array)
    assert "not the slope" in check(Wrong(0.2, 2.2, 6.0, device="cpu"), cell).verdict


def test_convert_writes_a_portable_model(pickled, tmp_path):
    out = tmp_path / "tiny.mace.npz"
    assert run(["potential", "convert", str(pickled), "-o", str(out)]) == 2
    assert run(["potential", "convert", str(pickled), "-o", str(out), "--trust-model"]) == 0
    assert load(out, device="cpu").identity.elements == ("B", "O", "Na", "Si", "P", "Zn", "Zr")


def test_an_element_that_was_not_validated_is_said_but_not_refused():
    identity = load(registry.DEFAULT).identity
    assert identity.unvalidated == ("B",)
    assert identity.caution(np.array([11, 40, 14, 15, 8, 30])) is None
    assert "not validated for cells with B" in identity.caution(np.array([5, 8, 30]))
