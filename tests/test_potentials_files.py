"""Files of potentials and their names: what is trusted, what is refused, what is downloaded."""

import http.server
import json
import threading
from importlib.util import find_spec

import numpy as np
import pytest

from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.potentials import registry, trust

torch = pytest.importorskip("torch")
pytest.importorskip("matscipy")
if find_spec("mace") is None:  # importing it would switch torch's safe loading off
    pytest.skip("mace-torch is not installed", allow_module_level=True)

import potential_toys  # noqa: E402
from potential_toys import STRUCTURES, evaluate  # noqa: E402

from atomflow.potentials import foundation, load  # noqa: E402
from atomflow.potentials.mace import files as mace_files  # noqa: E402
from atomflow.potentials.mace import potential as mace  # noqa: E402

own_cache, module, pickled, small = (
    potential_toys.own_cache, potential_toys.module, potential_toys.pickled, potential_toys.small)


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
    np.testing.assert_allclose(ours.energy_eV, theirs.energy_eV, rtol=1e-14, atol=0)
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


def test_an_element_that_was_not_validated_is_said_but_not_refused():
    identity = load("atomflow-nzsp-0").identity
    assert identity.unvalidated == ("B",)
    assert identity.caution(np.array([11, 40, 14, 15, 8, 30])) is None
    assert "not validated for cells with B" in identity.caution(np.array([5, 8, 30]))


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


def test_texts_of_a_frame_survive_evaluation(tmp_path):
    """A quote or a letter beyond ASCII in a cell's provenance: the evaluated file says the same and can be read."""
    from ase.io import read

    from atomflow.cell import Cell, read_cell, write_cell
    from atomflow.potentials.evaluate import evaluate_file

    note = {"note": 'a "quoted" word, Å and C:\\path'}
    cell = Cell(np.array([18, 18]), np.array([[0.0, 0, 0], [3.8, 0, 0]]), np.eye(3) * 12, provenance=note)
    write_cell(cell, tmp_path / "in.extxyz")
    evaluate_file(load("lennard-jones-argon"), tmp_path / "in.extxyz", tmp_path / "out.extxyz")
    assert read_cell(tmp_path / "out.extxyz").provenance == note
    assert read(tmp_path / "out.extxyz").get_potential_energy() < 0
