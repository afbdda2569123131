"""A simulation handed to LAMMPS: data file, potential, input, and what atomflow needs to read the dump again.

Large cells run there on many GPUs with the same model. ``nvt`` and ``npt`` are LAMMPS's Nosé–Hoover (``fix nvt``,
``fix npt``) with our relaxation times, whatever thermostat the settings name; equilibration is Langevin, as in ours.
"""

from __future__ import annotations

import json
from pathlib import Path

from atomflow.cell import Cell, write_cell
from atomflow.errors import InputError
from atomflow.md.config import MDConfig
from atomflow.potentials.base import Potential
from atomflow.runs import lammps as files
from atomflow.runs.manifest import plain
from atomflow.units import FS_PER_PS
from atomflow.version import __version__

BAR_PER_GPA = 1e4
#: LAMMPS takes seeds from 1 to less than this
MAX_SEED = 900_000_000
DATA, POTENTIAL, RUN, RESUME = "cell.data", "potential.in", "run.in", "resume.in"


def write_lammps(
    cell: Cell, potential: Potential, config: MDConfig, folder: str | Path, interface: str = "mliap"
) -> Path:
    """Write a folder that LAMMPS runs (``run.in``), resumes (``resume.in``) and ``atomflow analyze`` reads.

    Args:
        config: ensemble, temperature, times, pressure, seed. A temperature ramp is refused.
        interface: of MACE models, ``mliap`` or ``libtorch``; see :mod:`atomflow.potentials.lammps`.

    Raises:
        InputError: the folder is not empty, the potential has no form for LAMMPS or does not know an element.
    """
    from atomflow.potentials.lammps import pair_style

    folder = Path(folder)
    if config.temperature_end_K is not None:
        raise InputError("a temperature ramp is not written for LAMMPS; leave temperature_end_K away")
    potential.check_elements(cell.numbers)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is already there and not empty; give another name with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    elements = list(cell.composition)
    style = pair_style(potential, elements, folder, interface)
    identity = potential.identity
    head = [
        f"# {cell.formula}, {len(cell)} atoms: {config.ensemble} at {config.temperature_K:g} K, "
        f"{config.time_ps:g} ps, with {identity.name}",
        f"# (sha256 {identity.sha256[:16]}…, {identity.dtype}). Written by atomflow {__version__}.",
        "# Needs " + "\n#".join(style.needs),
    ]
    caution = identity.caution(cell.numbers)
    head += [f"# Caution: {caution}"] if caution else []
    (folder / DATA).write_text(files.data_text(cell, f"{cell.formula}, by atomflow {__version__}"), encoding="utf-8")
    _write(folder / POTENTIAL, [*head, *style.lines, f"neighbor {config.skin_A:.10g} bin",
                                "neigh_modify every 1 delay 0 check yes"])
    _write(folder / RUN, [*head, *_start(config, cell, style.launch), *_production(config, elements, 0)])
    _write(folder / RESUME, [*head, *_restart(style.launch), *_production(config, elements, None)])
    write_cell(cell, folder / files.CELL_FILE)
    facts = {"format": files.FORMAT, "format_version": 1, "atomflow": __version__,
             "temperature_K": config.temperature_K, "elements": elements, "cell": cell.summary(),
             "potential": identity.model_dump(mode="json"), "config": config.dump()}  # fmt: skip
    (folder / files.FACTS).write_text(json.dumps(plain(facts), indent=1) + "\n", encoding="utf-8")
    return folder


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _start(config: MDConfig, cell: Cell, launch: str) -> list[str]:
    """From the data file to the end of equilibration, which becomes step 0."""
    seed = config.random_key(cell.sha256) % (MAX_SEED - 1) + 1
    lines = [
        f"# Run here:  {launch.replace('INPUT', RUN)}", "# Then:      atomflow analyze .", "",
        "units metal", "atom_style atomic", "atom_modify map yes", "newton on", "boundary p p p", "box tilt large",
        f"read_data {DATA}", f"include {POTENTIAL}", "",
        f"velocity all create {config.temperature_K:.10g} {seed} mom yes rot no dist gaussian",
    ]  # fmt: skip
    if config.equilibration_steps:
        damp_ps = 1.0 / config.equilibration_friction_per_ps
        motion = _barostat(config, "nph") if config.ensemble == "npt" else "nve"
        lines += [
            "", "# equilibration: Langevin, not recorded", *_clock(config),
            f"fix heat all langevin {_target(config)} {damp_ps:.10g} {seed} zero yes",
            f"fix move all {motion}", f"run {config.equilibration_steps}", "unfix move", "unfix heat",
            "velocity all zero linear",
        ]  # fmt: skip
    return [*lines, "reset_timestep 0"]


def _restart(launch: str) -> list[str]:
    return [
        "# After a kill or a walltime: go on from the newest restart.<step>, here 5000:",
        f"#   {launch.replace('INPUT', RESUME)} -var from 5000",
        "# The frames go to a dump of their own; atomflow analyze joins the dumps at that step.", "",
        "read_restart restart.${from}", f"include {POTENTIAL}", "",
    ]  # fmt: skip


def _production(config: MDConfig, elements: list[str], first: int | None) -> list[str]:
    """The ensemble, restarts, unwrapped frames; from ``first``, or from the step that ``from`` names."""
    motion = {"nve": "nve", "nvt": f"nvt temp {_target(config)} {_ps(config.thermostat_time_fs)}",
              "npt": f"{_barostat(config, 'npt')} temp {_target(config)} {_ps(config.thermostat_time_fs)}"}  # fmt: skip
    name = "${from}" if first is None else str(first)
    return [
        "", "# production: unwrapped coordinates, atoms always in the same order", *_clock(config),
        f"fix move all {motion[config.ensemble]}",
        f"restart {config.checkpoint_every} restart.*",
        f"dump frames all custom {config.frame_every} dump.{name}.lammpstrj id element xu yu zu",
        f"dump_modify frames element {' '.join(elements)} sort id format float %.10g units yes time yes first yes",
        f"run {config.production_steps} upto",
    ]  # fmt: skip


def _clock(config: MDConfig) -> list[str]:
    return [f"timestep {_ps(config.timestep_fs)}", "thermo_style custom step time temp pe etotal press vol",
            f"thermo {config.thermo_every}"]  # fmt: skip


def _barostat(config: MDConfig, fix: str) -> str:
    """LAMMPS may flip a box that leans far, and unwrapped coordinates would jump: never."""
    pressure = f"{config.pressure_GPa * BAR_PER_GPA:.10g}"
    kind = {"anisotropic": "tri", "isotropic": "iso"}[config.barostat]
    return f"{fix} {kind} {pressure} {pressure} {_ps(config.barostat_time_fs)} flip no"


def _target(config: MDConfig) -> str:
    return f"{config.temperature_K:.10g} {config.temperature_K:.10g}"


def _ps(time_fs: float) -> str:
    return f"{time_fs / FS_PER_PS:.10g}"

