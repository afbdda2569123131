"""Options and groups that many verbs share: one name and one help text for one thing, wherever it stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from atomflow.errors import InputError, nearest

Potential = Annotated[str | None, typer.Option("-p", "--potential", help="Name or model file; see potential list.")]
Device = Annotated[str, typer.Option(help="auto (cuda where there is one), cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="Precision of the model: float32 or float64.")]
Trust = Annotated[bool, typer.Option("--trust-model", help="Load a pickled model of unknown checksum.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; OMP_NUM_THREADS, else 1.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def names(text: str) -> list[str]:
    """What an option lists with commas between, spaces or not: ``Na,Zr`` as ``Na, Zr``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def refuse_beside_resume(ctx: typer.Context, *allowed: str) -> None:
    """:class:`InputError` where settings are given to something that has its own on record."""
    given = [parameter for parameter in ctx.command.params if parameter.name not in (*allowed, "resume", "json_")
             and getattr(ctx.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"]
    if given:
        listed = ", ".join(item.opts[-1] if item.param_type_name == "option" else "CELL" for item in given)
        raise InputError(f"--resume takes everything from its folder; leave {listed} away (other settings: a new "
                         "folder)")


class Group(TyperGroup):
    """Commands under a verb; a mistyped one is told the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            known = set(self.commands)
            hint = nearest(args[0], known) or f": {', '.join(self.commands)}"
            ctx.fail(f"there is no command '{args[0]}' under atomflow {ctx.info_name}{hint}")
        return super().resolve_command(ctx, args)
