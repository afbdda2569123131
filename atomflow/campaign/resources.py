"""What a campaign may use: processes on this machine, jobs of a SLURM cluster."""

from __future__ import annotations

import re
from typing import Literal

import pydantic

from atomflow.config import StrictModel

#: SLURM's own forms of a time: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+))?(?::(?P<ds>\d+))?"
                   r"|(?P<hours>\d+):(?P<hm>\d+):(?P<hs>\d+)|(?P<minutes>\d+)(?::(?P<ms>\d+))?)")
_MEMORY = re.compile(r"[1-9]\d*[KMGT]?")
_WORD = re.compile(r"[^\s'\"\\$`]+")
#: options that the campaign writes itself, and where to give them instead
_OWN_OPTIONS = {
    "array": "array_limit", "dependency": "relax", "signal": "warn_s", "requeue": "warn_s", "no-requeue": "warn_s",
    "output": "logs/ of the campaign", "error": "logs/ of the campaign", "job-name": "name", "time": "time",
    "partition": "partition", "account": "account", "qos": "qos", "gres": "gres", "gpus": "gpus", "mem": "memory",
    "cpus-per-task": "tasks_per_job and threads_per_process", "ntasks": "tasks_per_job", "nodes": "tasks_per_job",
}


def time_in_seconds(value: str) -> int | None:
    """Seconds of a time as SLURM writes it (a bare number counts minutes); None where it is none."""
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    part = {key: int(text or 0) for key, text in match.groupdict().items()}
    hours = 24 * part["days"] + part["dh"] + part["hours"]
    minutes = part["dm"] + part["hm"] + part["minutes"]
    return 3600 * hours + 60 * minutes + part["ds"] + part["hs"] + part["ms"]


class Slurm(StrictModel):
    """One job of the cluster: an element of an array, on one node.

    Attributes:
        time: walltime, in any form SLURM knows; a job that reaches it checkpoints, goes back to the queue, and resumes.
        warn_s: how long before the walltime the tasks are told to checkpoint.
        memory: of a job, e.g. ``8G``; not given: the cluster's own default.
        tasks_per_job: tasks that share a job, side by side; its cores are this times ``threads_per_process``.
        array_limit: how many jobs of an array may run at a time.
        gpus, gres: e.g. ``1`` or ``a100:1``, and ``gpu:1``; as the cluster wants it, one of the two.
        setup: shell lines before the work begins (``module load``, ``source .../activate``).
        extra: further options as they are, e.g. ``--constraint=icelake``.
        python: the interpreter on the nodes; by default the one that submits.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str = "04:00:00"
    warn_s: int = pydantic.Field(default=120, ge=10, le=3600)
    memory: str | None = None
    tasks_per_job: int = pydantic.Field(default=1, ge=1, le=1024)
    array_limit: int | None = pydantic.Field(default=None, ge=1)
    gpus: str | int | None = None
    gres: str | None = None
    setup: list[str] = pydantic.Field(default_factory=list)
    extra: list[str] = pydantic.Field(default_factory=list)
    python: str | None = None

    @pydantic.field_validator("partition", "account", "qos", "gpus", "gres", "python")
    @classmethod
    def _one_word(cls, value: str | int | None) -> str | int | None:
        if isinstance(value, str) and not _WORD.fullmatch(value):
            raise ValueError(f"one word without spaces or quotes is needed, not '{value}'")
        return value

    @pydantic.field_validator("time", mode="before")
    @classmethod
    def _time(cls, value: object) -> object:
        """Text only: YAML reads 12:00:00 without quotes as the number 43200."""
        seconds = time_in_seconds(value) if isinstance(value, str) else None
        if seconds is None or seconds < 60:
            raise ValueError('give "HH:MM:SS" or "D-HH:MM:SS", in quotes, a minute at least')
        return value

    @pydantic.field_validator("memory")
    @classmethod
    def _memory(cls, value: str | None) -> str | None:
        if value is not None and not _MEMORY.fullmatch(value):
            raise ValueError(f"give a whole number with K, M, G or T, e.g. 8G, not '{value}'")
        return value

    @pydantic.field_validator("setup")
    @classmethod
    def _lines(cls, value: list[str]) -> list[str]:
        for line in value:
            if "\n" in line.strip() or line.lstrip().startswith("#SBATCH"):
                raise ValueError("one shell line each; options of sbatch go into extra")
        return value

    @pydantic.field_validator("extra")
    @classmethod
    def _options(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("--") or "\n" in option:
                raise ValueError(f"options of sbatch begin with '--', unlike '{option}'")
            own = _OWN_OPTIONS.get(re.split(r"[=\s]", option[2:])[0])
            if own:
                raise ValueError(f"'{option}' is written by the campaign itself (see {own})")
        return value

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Slurm:
        if self.gpus is not None and self.gres is not None:
            raise ValueError("gpus and gres: give one of the two, whichever the cluster wants")
        seconds = time_in_seconds(self.time)
        if seconds is not None and seconds < 2 * self.warn_s:
            raise ValueError(f"time: {seconds} s leave no time to work when the warning comes {self.warn_s} s earlier")
        return self


class Resources(StrictModel):
    """What of a machine a campaign takes, and what a job on a cluster looks like.

    Attributes:
        processes: workers side by side on this machine; ``auto``: one a core, one altogether on a GPU.
        threads_per_process: of each worker.
        packing: how many runs a worker takes into one batch; ``auto``: one on the CPU, on a GPU as many as measuring
            at its start shows to be worth it.
    """

    processes: Literal["auto"] | int = "auto"
    threads_per_process: int = pydantic.Field(default=1, ge=1)
    packing: Literal["auto"] | int = "auto"
    slurm: Slurm = Slurm()

    @pydantic.field_validator("processes", "packing")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("at least one is needed")
        return value
