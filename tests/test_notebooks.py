import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import diffusivity_cm2_per_s, write_campaign, write_run

from atomflow.build.boundary import build_boundary
from atomflow.build.sealed import build_sealed
from atomflow.cell import Cell

nbformat = pytest.importorskip("nbformat", reason="notebooks are run with nbformat and nbclient (extra: dev)")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run with nbformat and nbclient (extra: dev)")
pytest.importorskip("ipykernel", reason="notebooks need a kernel (extra: dev)")

ROOT = Path(__file__).resolve().parent.parent
BULK = ROOT / "analysis" / "01_bulk_nzsp.ipynb"
INTERFACES = {name: ROOT / "analysis" / name for name in ("02_glass.ipynb", "03_boundary.ipynb", "04_sealed.ipynb")}
PICTURES = {BULK.name: 3, "02_glass.ipynb": 4, "03_boundary.ipynb": 3, "04_sealed.ipynb": 4}


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


# --- glass, boundary, sealed boundary ---------------------------------------------------------------------------------


def run_here(name, capsys):
    """The code of a notebook in this process, without a kernel; what it printed, and how many figures it drew."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    plt.close("all")
    space = {}
    for cell in nbformat.read(INTERFACES[name], as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, name, "exec"), space)
    drawn = len(plt.get_fignums())
    plt.close("all")
    return capsys.readouterr().out, drawn


def toy_quench(folder, replicas=1):
    """Small Lennard-Jones atoms called Na, Zn, B and O, the middle of the box a film; melted and quenched."""
    from md_toys import argon, lennard_jones

    from atomflow import quench

    box = argon(2, 2.8, rattle=0.05)
    height = box.fractional[:, 2] % 1.0
    parts = np.select([height < 0.2, height < 0.8], ["grain_a", "glass"], "grain_b")
    regions = parts if replicas == 1 else ["glass"] * len(box)
    cell = Cell(np.tile([8, 5, 8, 30, 8, 5, 8, 11], 4), box.positions_A, box.lattice_A, regions)
    config = quench.QuenchConfig(melt_temperature_K=300, start_ps=0.02, melt_ps=0.1, rate_K_per_ps=4000, step_K=300,
                                 anneal_temperature_K=60, anneal_ps=0.04, end_temperature_K=20, settle_ps=0.1,
                                 frame_interval_fs=10, checkpoint_interval_ps=0.05)  # fmt: skip
    return quench.run(cell, lennard_jones(sigma_A=1.75, cutoff_A=3.5), config, folder, replicas)


def walks(folder, structure, cell, ea_eV=0.3):
    """A campaign whose Na walk freely through every region of ``cell``."""
    (folder / "runs").mkdir(parents=True)
    (folder / "campaign.json").write_text('{"format": "atomflow-campaign", "format_version": 1, "name": "walks"}')
    for kelvin in (700, 1000):
        write_run(folder / "runs" / f"{structure}-{kelvin}K", kelvin, diffusivity_cm2_per_s(kelvin, 2e-3, ea_eV),
                  structure=structure, n_frames=400, cell=cell)
    return folder


def test_the_glass_notebook_judges_a_quench(tmp_path, monkeypatch, capsys):
    toy_quench(tmp_path / "glass", replicas=3)
    monkeypatch.setenv("ATOMFLOW_GLASS", str(tmp_path / "glass"))
    text, drawn = run_here("02_glass.ipynb", capsys)
    assert "3 glasses of glass: O16B8Zn4Na4, 32 atoms each" in text
    assert "potential: lennard-jones-argon" in text
    assert "not accepted" in text  # argon is no glass
    assert drawn == 3
    assert "a quench alone" in text


def test_the_boundary_notebook_finds_what_was_put_in(tmp_path, monkeypatch, capsys):
    cell = build_boundary((1, 1, 0), grain_thickness=12.0)
    monkeypatch.setenv("ATOMFLOW_BOUNDARY", str(walks(tmp_path / "given", "mirror", cell)))
    text, drawn = run_here("03_boundary.ipynb", capsys)
    assert drawn == PICTURES["03_boundary.ipynb"]
    assert "potential: synthetic random walk" in text
    assert "mirror at 1000 K" in text
    assert "boundary → grain" in text
    low, high = (float(x) for x in re.search(r"boundary, along: Ea = [\d.]+ \[([\d.]+), ([\d.]+)\]", text).groups())
    assert low <= 0.3 <= high


def test_the_sealed_notebook_goes_from_the_quench_to_the_passages(tmp_path, monkeypatch, capsys):
    cell = build_sealed(build_boundary((1, 1, 0), grain_thickness=9.0, width=0.5), film=5.0, na_uptake=0.5)
    given = walks(tmp_path / "given", "sealed", cell)
    (given / "prepare").mkdir()
    toy_quench(given / "prepare" / "sealed")
    monkeypatch.setenv("ATOMFLOW_SEALED", str(given))
    text, drawn = run_here("04_sealed.ipynb", capsys)
    assert drawn == PICTURES["04_sealed.ipynb"]
    assert "held grain_a, grain_b" in text
    assert "composition kept: True" in text
    assert "through glass" in text


@pytest.mark.parametrize("path", [BULK, *INTERFACES.values()], ids=lambda path: path.stem)
def test_the_committed_notebook_shows_its_outputs_and_nobodys_folders(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert len(pictures(notebook)) == PICTURES[path.name]
    assert re.search(r"potential: +\S+", printed(notebook))
    assert not re.search(r"/(home|root|tmp|Users|work)/", printed(notebook))
