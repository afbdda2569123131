"""The ``atomflow`` command: a table of verbs, each imported only when it is called."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from atomflow.errors import EXIT_DONE, EXIT_FAILED, EXIT_RESUME, EXIT_WRONG_INPUT, AtomflowError, nearest
from atomflow.version import __version__

#: verb → what it is for, in the order of a working day. The verb lives in ``atomflow/cli/<verb>.py`` as ``app``.
VERBS = {
    "build": "Build a cell: NZSP ordered, random or low-energy, doped, in any supercell.",
    "potential": "List, show, check and evaluate machine-learned potentials.",
    "relax": "Relax atoms, and the cell if asked, with a potential.",
    "md": "Run molecular dynamics into a run folder, or resume one.",
    "quench": "Melt and quench a glass, or the film of a sealed boundary in place.",
    "campaign": "Plan, run, watch and extend structures × temperatures × seeds, here or on SLURM.",
    "order": "Radial distributions, coordination, bonds; is the glass the glass?",
    "xrd": "X-ray powder patterns of cells and mixtures, against the publication's lines.",
    "analyze": "Diffusivities, conductivity and activation energy, with intervals.",
    "phonon": "Phonons of a relaxed cell: bands, density of states, imaginary modes by name.",
    "hop": "Barrier and harmonic rate of one Na hop between named sites.",
    "interface": "Energies of boundaries, surfaces and contacts: searched, relaxed, beside DFT.",
    "reactivity": "What sodium, NZSP and zinc borate form with one another, and by how much.",
    "impedance": "Grain, boundary and film conductivities to R_b, R_gb and a Nyquist plot.",
    "compare": "Hold a campaign's numbers against the publication's.",
    "report": "Write one self-contained HTML report of a campaign.",
    "export": "Write a run as extxyz, AMBER NetCDF or LAMMPS data; a whole simulation for LAMMPS.",
    "paper": "The publication as data: list, show, check.",
}


class _Verbs(TyperGroup):
    """Imports a verb's module only when the verb is called, so that help and light verbs start at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"atomflow.cli.{cmd_name}")
        command: Any = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in VERBS:
            ctx.fail(f"there is no command '{args[0]}'{nearest(args[0], set(VERBS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=_Verbs,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"atomflow {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """From a crystal to an Arrhenius line, held against the publication (10.1039/d1ta10816f).

    \b
    Example:
      atomflow build nzsp --order ordered -o cell.extxyz
      atomflow md cell.extxyz -T 1000 --time-ps 5 -o run/
      atomflow analyze run/

    Exit codes: 0 done, 2 wrong input, 75 stopped and can be resumed, other failed.
    """


def main(argv: list[str] | None = None) -> None:
    """Entry point: one line for every error, no traceback (``ATOMFLOW_TRACEBACK=1`` shows it)."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: list[str]) -> int:
    """Run the command line and return its exit code."""
    argv = _three([re.sub(r"^--output(?=$|=)", "--out", word) for word in argv])  # its former name
    try:
        result = typer.main.get_command(app).main(args=argv, prog_name="atomflow", standalone_mode=False)
        return result if isinstance(result, int) else EXIT_DONE
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_RESUME)
    except Exception as error:  # every way out is one line and an exit code
        if os.environ.get("ATOMFLOW_TRACEBACK"):
            raise
        return _explain(error, argv)


def _three(argv: list[str]) -> list[str]:
    """Repeats and Miller indices may be written 2,1,1 and 2x1x1 as well as 2 1 1."""
    words: list[str] = []
    for word in argv:
        before = words[-1] if words else ""
        three = before in ("--supercell", "--plane") and re.fullmatch(r"(-?\d+)([,x])(-?\d+)\2(-?\d+)", word)
        words += three.group(1, 3, 4) if three else [word]
    return words


def _explain(error: Exception, argv: list[str]) -> int:
    if isinstance(error, AtomflowError):
        return _say(str(error), error.exit_code)
    if isinstance(error, typer.Abort):
        return _say("interrupted", EXIT_RESUME)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
        return EXIT_WRONG_INPUT
    if hasattr(error, "format_message"):  # click's usage errors, whichever copy of click typer carries
        return _say(_no_number(error, argv) or error.format_message(), EXIT_WRONG_INPUT)
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing left to write to)
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.filename:
        return _say(f"{error.filename}: {error.strerror}", EXIT_FAILED)
    line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return _say(f"internal error: {type(error).__name__}: {line} (ATOMFLOW_TRACEBACK=1 shows where)", EXIT_FAILED)


def _no_number(error: Any, argv: list[str]) -> str:
    """What was found where a number is wanted, and how numbers are written; empty for any other error."""
    parameter, kind = getattr(error, "param", None), re.search("valid (number|integer)", error.format_message())
    if parameter is None or kind is None:
        return ""
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--") else [word])]
    place = next((k for k, word in enumerate(words) if word in parameter.opts), None)
    after = [] if place is None else words[place + 1 : place + 1 + parameter.nargs]
    found = " ".join(itertools.takewhile(lambda word: not word.startswith("--") and word != "-o", after))
    whole, how = ("whole ", "") if kind[1] == "integer" else ("", "; leave units out, and write 0.25 with a point")
    wanted = f"a {whole}number" if parameter.nargs == 1 else f"{parameter.nargs} {whole}numbers with spaces between"
    return f"{' / '.join(parameter.opts)} takes {wanted}" + (f", not '{found}'" if found else "") + how


def _say(message: str, code: int) -> int:
    print("atomflow: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
