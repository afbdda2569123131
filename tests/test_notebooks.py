import re
from pathlib import Path

import pytest
from synthetic import write_campaign

nbformat = pytest.importorskip("nbformat", reason="notebooks are run with nbformat and nbclient (extra: dev)")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run with nbformat and nbclient (extra: dev)")
pytest.importorskip("ipykernel", reason="notebooks need a kernel (extra: dev)")

ROOT = Path(__file__).resolve().parent.parent
BULK = ROOT / "analysis" / "01_bulk_nzsp.ipynb"


def execute(path, folder):
    """Run a notebook in ``folder``; an error in a cell is raised with its traceback."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    return notebook


def printed(notebook):
    return "\n".join(out["text"] for cell in notebook.cells for out in cell.get("outputs", []) if "text" in out)


def pictures(notebook):
    outputs = (out for cell in notebook.cells for out in cell.get("outputs", []))
    return [out["data"]["image/png"] for out in outputs if "image/png" in out.get("data", {})]


def energy(text):
    found = re.search(r"Ea = ([\d.]+) \[([\d.]+), ([\d.]+)\] eV", text)
    assert found, text
    return tuple(map(float, found.groups()))


def test_the_bulk_notebook_finds_the_energy_of_a_campaign(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path / "given", (600, 750, 900), d0_cm2_per_s=2e-3, ea_eV=0.25, n_frames=400)
    monkeypatch.setenv("ATOMFLOW_CAMPAIGN", str(campaign))
    notebook = execute(BULK, BULK.parent)
    text = printed(notebook)
    value, low, high = energy(text)
    assert low <= 0.25 <= high
    assert low < value < high
    assert "SYNTHETIC" not in text
    assert len(pictures(notebook)) == 3
    assert all(len(picture) > 8000 for picture in pictures(notebook))
    assert (campaign / "report.html").is_file()


@pytest.mark.slow
def test_the_bulk_notebook_runs_without_any_campaign_and_says_that_it_is_synthetic(tmp_path, monkeypatch):
    monkeypatch.delenv("ATOMFLOW_CAMPAIGN", raising=False)
    (tmp_path / "analysis").mkdir()
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    notebook = execute(BULK, tmp_path / "analysis")
    text = printed(notebook)
    assert "SYNTHETIC" in text
    _, low, high = energy(text)
    assert low <= 0.32 <= high


def test_the_committed_notebook_shows_its_outputs_and_nobodys_folders():
    notebook = nbformat.read(BULK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert len(pictures(notebook)) == 3
    assert not re.search(r"/(home|root|tmp|Users|work)/", printed(notebook))
