"""``atomflow relax``: atoms, and the cell if asked, to the nearest minimum."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli.options import Device, Dtype, Json, Potential, Threads, Trust

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Relax atoms, and the cell if asked.")


@app.command()
def relax(
    cell: Path = typer.Argument(..., help="Cell to relax: extxyz, CIF, POSCAR, anything ASE reads."),
    out: Path = typer.Option(..., "-o", "--out", help="Where the relaxed cell goes (.extxyz keeps everything)."),
    potential: Potential = None,
    cell_too: bool = typer.Option(False, "--cell-too", help="Relax the lattice vectors as well."),
    fmax: float = typer.Option(0.02, help="Largest force left, in eV/Å."),
    max_steps: int = typer.Option(500, help="Stop after so many steps, converged or not."),
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Relax CELL with a potential. What did not converge is written too, and said so.

    \b
    Example:
      atomflow relax cell.extxyz -p chgnet --cell-too -o relaxed.extxyz
    """
    from atomflow.cell import check_writable, read_cell, write_cell
    from atomflow.cli import output
    from atomflow.cli.loading import load_potential, set_threads, warn_of

    start = read_cell(cell)
    check_writable(out)
    set_threads(threads)
    from atomflow import md

    chosen = load_potential(potential, device, dtype, trust_model)
    warn_of(chosen, start)

    def progress(step: int, energy_eV: float, fmax_now: float) -> None:
        output.say(f"step {step}: {energy_eV:.4f} eV, largest force {fmax_now:.4f} eV/Å")

    relaxed, result = md.relax(start, chosen, cell_too, fmax, max_steps, progress)
    write_cell(relaxed, out)
    if not result.converged:
        output.say(f"warning: not converged after {result.steps} steps: the largest force is still "
                   f"{result.fmax_eV_per_A:.4f} eV/Å (wanted {fmax:g}); raise --max-steps or relax again from {out}")
    if json_:
        output.emit_json({**result.to_json(), "potential": chosen.identity.model_dump(mode="json"), "out": out})
        return
    output.show(f"{chosen.identity.name}: {result}")
