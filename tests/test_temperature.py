"""How hot a run was: one estimator for engine and analysis, and one σ of a run and of what was exported from it."""

import json
import shutil

import ase.io
import numpy as np
import pytest
from md_toys import argon, lennard_jones
from test_transport_campaign import write_run

from atomflow import md, runs
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.runs.export import export
from atomflow.runs.means import mean_temperature_K
from atomflow.transport import analyze, analyze_campaign

RNG = np.random.default_rng(3)
#: 200 rows about 630 K of runs at 600 K.
KELVIN = 630.0 + 25.0 * RNG.standard_normal(200)


def exported(folder, place, stride=1):
    with runs.open_run(folder) as opened:
        return export(opened, "netcdf" if place.suffix == ".nc" else "extxyz", place, stride)


def test_analysis_gives_the_mean_temperature_the_error_that_the_engine_gives(tmp_path):
    config = md.MDConfig(temperature_K=60, time_ps=2, thermostat_time_fs=40)
    manifest = md.run(argon(2, 5.3, rattle=0.05), lennard_jones(cutoff_A=5.0), config, tmp_path / "run")
    result = analyze(tmp_path / "run", species="Ar", framework="none")
    assert result.temperature_mean_K == pytest.approx(manifest["summary"]["temperature_mean_K"], rel=1e-12)
    assert result.temperature_error_K == pytest.approx(manifest["summary"]["temperature_error_K"], rel=1e-12)
    assert 0.2 < result.temperature_error_K < 5.0


def test_the_error_is_printed_in_json_pooled_and_known_of_a_campaign(tmp_path, capsys):
    """Rows that forget one another after 4 τ = 2 ps, 20 rows: 25 K / √(200 / 20), and less by √2 of two seeds."""
    (tmp_path / "runs").mkdir()
    folders = [write_run(tmp_path / "runs" / f"r{seed}", seed, mean_temperature=KELVIN) for seed in (1, 2)]
    one, two = analyze(folders[0]), analyze(folders)
    assert one.temperature_error_K == pytest.approx(25.0 / np.sqrt(10), rel=0.2)
    assert two.temperature_error_K == pytest.approx(one.temperature_error_K / np.sqrt(2), rel=1e-12)
    words = f"{KELVIN.mean():.1f} ± {one.temperature_error_K:.1f} K"
    assert f"600 K (measured {words})" in str(one)
    assert any(f"the atoms were at {words} on average" in text for text in one.warnings)
    assert not any("chance" in text for text in one.warnings)  # 30 K off, and four standard errors
    near = analyze(write_run(tmp_path / "near", 3, mean_temperature=600 + 2 * (KELVIN - 622)))
    assert any("by chance" in text for text in near.warnings)
    assert command(["analyze", str(folders[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature_error_K"] == pytest.approx(one.temperature_error_K)
    assert f"{KELVIN.mean():.1f} ± {two.temperature_error_K:.1f}" in str(analyze_campaign(tmp_path))


def test_a_ramp_and_a_few_rows_have_no_error(tmp_path):
    ramp = write_run(tmp_path / "ramp", 1, config={"temperature_end_K": 300.0})
    assert analyze(ramp).temperature_error_K is None
    short = write_run(tmp_path / "short", 1, frames=9)
    assert mean_temperature_K(runs.open_run(short)) == (600.0, None)


@pytest.mark.parametrize("discard_ps", [0.0, 4.0])
@pytest.mark.parametrize("name", ["run.extxyz", "run.nc"])
def test_a_run_and_its_export_have_one_conductivity_potential_and_error(tmp_path, discard_ps, name):
    folder = write_run(tmp_path / "run", 1, d_A2_per_ps=0.4, mean_temperature=KELVIN)
    own, other = (analyze(path, discard_ps=discard_ps)
                  for path in (folder, exported(folder, tmp_path / name)))
    assert own.nernst_einstein_conductivity_S_per_cm.value is not None
    for name in ("conductivity_S_per_cm", "nernst_einstein_conductivity_S_per_cm", "tracer_diffusivity_cm2_per_s"):
        for end in ("value", "low", "high"):
            assert getattr(getattr(other, name), end) == pytest.approx(getattr(getattr(own, name), end), rel=1e-5)
    for name in ("temperature_K", "temperature_mean_K", "temperature_error_K"):
        assert getattr(other, name) == pytest.approx(getattr(own, name), rel=1e-12)
    assert other.potential == own.potential
    assert other.warnings == own.warnings


def test_every_third_frame_carries_the_rows_between(tmp_path):
    folder = write_run(tmp_path / "run", 1, mean_temperature=KELVIN)
    thinned = runs.open_trajectory(exported(folder, tmp_path / "thin.extxyz", stride=3))
    assert len(thinned.thermo()["temperature_K"]) == 200
    assert mean_temperature_K(thinned)[0] == pytest.approx(KELVIN.mean(), rel=1e-12)
    images = ase.io.read(tmp_path / "thin.extxyz", index=":")
    assert images[0].info["temperature_measured_K"] == pytest.approx(KELVIN[:3].mean())


def test_a_temperature_that_is_given_is_stronger_than_what_the_file_says(tmp_path):
    path = exported(write_run(tmp_path / "run", 1, mean_temperature=KELVIN), tmp_path / "run.extxyz")
    result = analyze(runs.open_trajectory(path, temperature_K=700.0))
    assert (result.temperature_K, result.temperature_mean_K) == (700.0, None)


def test_a_run_folder_is_not_told_another_temperature_or_time(tmp_path):
    folder = write_run(tmp_path / "run", 1, frames=30)
    assert runs.open_trajectory(folder, frame_interval_fs=100.0, temperature_K=600.0).n_frames == 30
    with pytest.raises(InputError, match="on record with 600 K, not 700: leave --temperature away"):
        runs.open_trajectory(folder, temperature_K=700.0)
    with pytest.raises(InputError, match="on record with 100 fs, not 20: leave --frame-interval-fs away"):
        runs.open_trajectory(folder, frame_interval_fs=20.0)


def test_one_run_is_no_two_seeds(tmp_path):
    folder = write_run(tmp_path / "run", 1)
    for twice in ([folder, folder], [folder, tmp_path / ".." / tmp_path.name / "run"], [runs.open_run(folder)] * 2):
        with pytest.raises(InputError, match="is given twice: it would count as two independent seeds"):
            analyze(twice)
    shutil.copytree(folder, tmp_path / "copy")
    for copy in (tmp_path / "copy", exported(folder, tmp_path / "run.extxyz")):
        assert any("are the same trajectory" in text for text in analyze([folder, copy]).warnings)
    other = write_run(tmp_path / "other", 2)
    assert not any("same trajectory" in text for text in analyze([folder, other]).warnings)


def test_a_run_that_is_not_done_says_so(tmp_path):
    assert any("is stopped at 60 frames" in text for text in
               analyze(write_run(tmp_path / "run", 1, frames=60, state="stopped")).warnings)


def test_the_export_of_a_ramp_is_still_one_and_of_a_run_without_rows_has_none(tmp_path):
    ramp = write_run(tmp_path / "ramp", 1, config={"temperature_end_K": 300.0})
    assert any("went from 600 to 300 K" in text for text in analyze(exported(ramp, tmp_path / "x.extxyz")).warnings)
    empty = write_run(tmp_path / "nan", 1, mean_temperature=np.full(200, np.nan))
    assert mean_temperature_K(runs.open_trajectory(exported(empty, tmp_path / "y.extxyz"))) == (None, None)
