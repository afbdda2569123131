"""What an md configuration accepts, and the one line it answers with otherwise."""

import subprocess
import sys

import pytest

from atomflow.errors import InputError
from atomflow.md.config import MDConfig

GOOD = {"temperature_K": 900, "time_ps": 20}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature_K": -5}, "'temperature_K'.*greater than 0"),
        ({"temperature_K": float("nan")}, "'temperature_K'"),
        ({"temprature_K": 300}, "unknown key 'temprature_K'; did you mean 'temperature_K'"),
        ({"ensemble": "nph"}, "'ensemble'.*'nve', 'nvt' or 'npt'"),
        ({"timestep_fs": 0}, "'timestep_fs'"),
        ({"frame_interval_fs": 3.0}, r"frame_interval_fs \(3 fs\) is not a whole number of time steps"),
        ({"thermo_interval_fs": 1.0}, "thermo_interval_fs .*whole number of time steps"),
        ({"checkpoint_interval_ps": 0.0011}, "checkpoint_interval_ps"),
        ({"time_ps": 0.0031}, r"time_ps \(3.1 fs\)"),
        ({"equilibration_ps": 0.001}, "equilibration_ps"),
        ({"thermostat_time_fs": 1.0}, "at least five time steps"),
        ({"ensemble": "nve", "temperature_end_K": 500}, "needs a thermostat"),
        ({"ensemble": "npt", "thermostat": "nose-hoover"}, "npt goes with"),
        ({"seed": -1}, "'seed'"),
    ],
)
def test_a_bad_configuration_is_one_clear_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        MDConfig.from_dump({**GOOD, **change})
    assert "\n" not in str(error.value)


def test_steps_are_whole_numbers_in_spite_of_binary_fractions():
    config = MDConfig(**GOOD, timestep_fs=0.1, frame_interval_fs=0.7, thermo_interval_fs=0.3, equilibration_ps=0.3)
    assert (config.frame_every, config.thermo_every, config.equilibration_steps) == (7, 3, 3000)
    assert config.production_steps == 200000


def test_a_configuration_survives_its_dump():
    config = MDConfig(**GOOD, ensemble="npt", pressure_GPa=-0.5, temperature_end_K=1200, seed=2**62)
    assert MDConfig.from_dump(config.dump()) == config


def test_importing_the_configuration_needs_no_torch():
    code = "import sys, atomflow.md, atomflow.cli.md, atomflow.cli.relax; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_runs_at_different_temperatures_or_of_different_cells_do_not_share_their_noise():
    """One lucky seed must not move all points of an Arrhenius line together, nor all structures of a comparison."""
    keys = {MDConfig(temperature_K=t, time_ps=1.0, seed=s).random_key(cell)
            for t in (900.0, 1000.0, 1150.0) for s in (1, 2) for cell in ("ab", "cd")}
    assert len(keys) == 12
    short, long = (MDConfig(temperature_K=t, time_ps=time) for t, time in ((900, 1.0), (900.0, 9.0)))
    assert short.random_key("ab") == long.random_key("ab")
