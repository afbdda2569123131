"""Our MSD and D beside those of the programs people use, where they are installed (pip install atomflow[benchmark])."""

from types import SimpleNamespace

import numpy as np
import pytest
from transport_walks import gaussian_walk, with_framework

from atomflow import transport
from atomflow.transport.displacement import Displacements
from atomflow.transport.measure import measure

D_A2_PER_PS, DT_PS, FRAMES, IONS = 0.1, 0.1, 1000, 50


@pytest.fixture(scope="module")
def trajectory():
    """Brownian ions on a framework that drifts."""
    rng = np.random.default_rng(42)
    drift = gaussian_walk(rng, FRAMES, 1, 0.5, DT_PS)[:, 0]
    return with_framework(gaussian_walk(rng, FRAMES, IONS, D_A2_PER_PS, DT_PS), rng, drift=drift)


def test_pymatgen_analysis_diffusion(trajectory):
    analyzer = pytest.importorskip("pymatgen.analysis.diffusion.analyzer")
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice(trajectory.mean_lattice_A), list(trajectory.symbols), np.zeros((IONS + 4, 3)))
    moved = (trajectory.positions - trajectory.positions[:1]).transpose(1, 0, 2)
    theirs = analyzer.DiffusionAnalyzer(structure, moved, "Na", 600, time_step=100, step_skip=1, smoothed="max")
    ours = measure([Displacements(trajectory)])
    lags = np.round(theirs.dt / 100).astype(int)
    np.testing.assert_allclose(theirs.msd[1:], ours.msd_A2[lags[1:]], rtol=1e-8, atol=0)
    found = transport.analyze(trajectory).tracer_diffusivity_cm2_per_s
    assert found.value == pytest.approx(theirs.diffusivity, rel=0.4, abs=0)


def test_mdanalysis(trajectory):
    mda = pytest.importorskip("MDAnalysis")
    pytest.importorskip("tidynamics")
    from MDAnalysis.analysis.msd import EinsteinMSD

    positions = (trajectory.positions - trajectory.positions[:, -1:]).astype(np.float32)[:, :IONS]
    universe = mda.Universe.empty(IONS, trajectory=True)
    universe.load_new(positions, dt=DT_PS)
    theirs = EinsteinMSD(universe, select="all", msd_type="xyz", fft=True).run().results.timeseries
    ours = measure([Displacements(trajectory)]).msd_A2
    np.testing.assert_allclose(theirs[1:], ours[1:], rtol=1e-5, atol=0)


def test_kinisi(trajectory):
    """MSD to 1e-8, and D within both programs' intervals."""
    kinisi = pytest.importorskip("kinisi.displacement")
    import scipp as sc
    from kinisi.diffusion import Diffusion

    ours = measure([Displacements(trajectory)])
    lags = np.arange(10, 300, 10)
    corrected = trajectory.positions[:, :IONS] - trajectory.positions[:, -1:]
    parser = SimpleNamespace(
        displacements=sc.array(dims=["obs", "particle", "dimension"], values=(corrected - corrected[:1])[1:],
                               unit="angstrom"),
        dt_index=sc.array(dims=["time interval"], values=lags),
        dt=sc.array(dims=["time interval"], values=lags * DT_PS, unit="ps"),
        dimensionality=3 * sc.units.dimensionless)
    theirs = kinisi.calculate_msd(parser, progress=False)
    np.testing.assert_allclose(theirs["da"].values, ours.msd_A2[lags], rtol=1e-8, atol=0)
    regression = Diffusion(theirs)
    regression._diffusion(start_dt=1.0 * sc.Unit("ps"), progress=False)
    values = regression.D.values
    low, high = np.quantile(np.asarray(values), [0.025, 0.975])
    found = transport.analyze(trajectory).tracer_diffusivity_cm2_per_s
    assert found.overlaps(low, high)
