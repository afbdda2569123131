"""The campaign file: what to simulate, with what, at which temperatures, how often. Importable without torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pydantic

from atomflow.campaign.resources import Resources
from atomflow.campaign.structures import build_structure, check_structure, quench_of
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse, read_yaml
from atomflow.errors import InputError, path_of, said
from atomflow.md.config import MDConfig
from atomflow.quench.config import QuenchConfig

if TYPE_CHECKING:
    from atomflow.potentials import Potential

#: keys of an MD configuration that the campaign sets itself
_OWN_MD_KEYS = {"temperature_K": "temperatures_K", "seed": "seeds"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class PotentialChoice(StrictModel):
    """Which potential: a name of ``atomflow potential list``, a model file, or a folder that ``potential train`` wrote.

    ``committee`` are further model files, in place of the potential's own committee, if it has one. Paths are relative
    to the campaign file.
    """

    name: str
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"
    trust_model: bool = False
    committee: tuple[str, ...] = ()


class CampaignConfig(StrictModel):
    """A campaign as its file describes it.

    Attributes:
        structures: name → ``{builder: nzsp, ...}`` with the builder's parameters, or ``{file: path}``; with ``quench``
            it is melted and quenched once before anything else (:mod:`atomflow.campaign.structures`).
        relax: what is relaxed once for every structure before dynamics: nothing, positions, or cell and positions.
        relax_fmax_eV_per_A, relax_max_steps: how far.
        md: keys of :class:`atomflow.md.MDConfig` without temperature_K and seed.
        md_at: temperature → keys that differ from ``md`` there, e.g. a longer ``time_ps`` where it is cold.
        seeds: a list, or a number n for 1 to n.
        folder: where relative paths start; set by :func:`load`.
    """

    name: str
    structures: dict[str, dict[str, Any]]
    potential: PotentialChoice
    relax: Literal["none", "positions", "cell"] = "none"
    relax_fmax_eV_per_A: float = pydantic.Field(default=0.05, gt=0)
    relax_max_steps: int = pydantic.Field(default=300, ge=1)
    md: dict[str, Any]
    md_at: dict[float, dict[str, Any]] = pydantic.Field(default_factory=dict)
    temperatures_K: list[float]
    seeds: list[pydantic.StrictInt] | pydantic.StrictInt = 1
    resources: Resources = Resources()
    folder: str = "."

    @pydantic.field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _checked_name(value, "the campaign")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.structures:
            _checked_name(name, "a structure")
        for key, values in (("structures", self.structures), ("temperatures_K", self.temperatures_K),
                            ("seeds", self.seed_list)):
            if not values:
                raise ValueError(f"{key}: at least one is needed")
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: one is given twice")
        for temperature in self.md_at:
            if temperature not in self.temperatures_K:
                raise ValueError(f"md_at: {temperature:g} K is not among temperatures_K")
        return self

    @property
    def seed_list(self) -> list[int]:
        return list(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else self.seeds

    @property
    def packs_on_slurm(self) -> bool:
        """Whether the runs of a job share one worker as batches: where that is asked for, or a GPU is."""
        packing, slurm, device = self.resources.packing, self.resources.slurm, self.potential.device
        if packing != "auto":
            return packing > 1
        return device != "cpu" and (device != "auto" or bool(slurm.gpus or slurm.gres))

    def md_config(self, temperature_K: float, seed: int, where: str = "md") -> MDConfig:
        """The MD configuration of one task."""
        keys = {**self.md, **self.md_at.get(temperature_K, {})}
        return parse(MDConfig, {**keys, "temperature_K": temperature_K, "seed": seed}, where)

    def potential_name(self) -> str:
        """The potential's name, or the path of its file or folder."""
        path = Path(self.folder, self.potential.name).expanduser()
        is_there = path.is_file() or (path.is_dir() and any(path.glob("*.mace.npz")))
        return str(path.resolve()) if is_there else self.potential.name

    def load_potential(self, device: str | None = None) -> Potential:
        """The potential, on ``device`` rather than where the campaign wants it, if given."""
        from atomflow import potentials

        choice = self.potential
        committee = [Path(self.folder, file).expanduser() for file in choice.committee]
        return potentials.load(self.potential_name(), device=device or choice.device, dtype=choice.dtype,
                               trust_model=choice.trust_model, committee=committee)

    def build(self, structure: str, where: str = "campaign") -> Cell:
        """The cell of ``structure``, before any quench or relaxation.

        Raises:
            InputError: names the structure and what is wrong with it.
        """
        return build_structure(self.structures[structure], self.folder, f"{where}: structures.{structure}")

    def quench(self, structure: str) -> QuenchConfig | None:
        """How ``structure`` is melted and quenched before its runs; None where it is not."""
        return quench_of(self.structures[structure])


def load(path: str | Path) -> CampaignConfig:
    """Read and check a campaign file, structures and MD keys included; nothing is built or loaded.

    Raises:
        InputError: one line that names the file and the key.
    """
    path = path_of(path, "a campaign file")
    data = read_yaml(path)
    if "folder" in data:
        raise InputError(f"{path}: unknown key 'folder'")
    config = parse(CampaignConfig, {**data, "folder": str(path.resolve().parent)}, str(path))
    check(config, str(path))
    return config


def check(config: CampaignConfig, where: str = "campaign") -> None:
    """The checks that need more than one model: structures, and the MD keys at every temperature."""
    if not isinstance(config, CampaignConfig):
        raise InputError(f"a campaign is given as campaign.load(path) reads it, not as {said(config)}")
    for name, given in config.structures.items():
        check_structure(given, f"{where}: structures.{name}")
    for key, keys in (("md", config.md), *((f"md_at.{t:g}", keys) for t, keys in config.md_at.items())):
        for own, instead in _OWN_MD_KEYS.items():
            if own in keys:
                raise InputError(f"{where}: {key}.{own}: give {instead} at the top level instead")
    for temperature in config.temperatures_K:
        for seed in config.seed_list:
            config.md_config(temperature, seed, f"{where}: md")


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name of {what} may hold letters, digits, '.', '_' and '-' only: '{name}'")
    return name
