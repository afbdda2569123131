"""``atomflow relax``: atoms, and the cell if asked, to the nearest minimum."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Relax atoms, and the cell if asked.")


@app.command()
def relax(
    cell: Path = typer.Argument(..., help="Cell to relax: extxyz, CIF, POSCAR, anything ASE reads."),
    out: Path = typer.Option(..., "-o", "--out", help="Where the relaxed cell goes (.extxyz keeps everything)."),
    potential: str | None = typer.Option(None, "-p", "--potential", help="Name or model file; see potential list."),
    cell_too: bool = typer.Option(False, "--cell-too", help="Relax the lattice vectors as well."),
    fmax: float = typer.Option(0.02, help="Largest force left, in eV/Å."),
    max_steps: int = typer.Option(500, help="Stop after so many steps, converged or not."),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    dtype: str = typer.Option("float32", help="Precision of the model: float32 or float64."),
    trust_model: bool = typer.Option(False, "--trust-model", help="Load a pickled model of unknown checksum."),
    threads: int | None = typer.Option(None, help="CPU threads; OMP_NUM_THREADS, else 1."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Relax CELL with a potential. What did not converge is written too, and said so.

    \b
    Example:
      atomflow relax cell.extxyz -p chgnet --cell-too -o relaxed.extxyz
    """
    from atomflow.cell import read_cell, write_cell
    from atomflow.cli import output
    from atomflow.cli.md import _set_threads

    start = read_cell(cell)
    _set_threads(threads)
    from atomflow import md, potentials

    chosen = potentials.load(name := potential or potentials.DEFAULT, device=device, dtype=dtype,
                             trust_model=trust_model)

    caution = chosen.identity.caution(start.numbers)
    if caution:
        output.say(f"warning: {caution}")

    def progress(step: int, energy_eV: float, fmax_now: float) -> None:
        output.say(f"step {step}: {energy_eV:.4f} eV, largest force {fmax_now:.4f} eV/Å")

    relaxed, result = md.relax(start, chosen, cell_too, fmax, max_steps, progress)
    write_cell(relaxed, out)
    if not result.converged:
        output.say(f"warning: not converged after {result.steps} steps: the largest force is still "
                   f"{result.fmax_eV_per_A:.4f} eV/Å (wanted {fmax:g}); raise --max-steps or relax again from {out}")
    if as_json:
        output.emit_json({**result.to_json(), "potential": chosen.identity.model_dump(mode="json"), "out": out})
        return
    output.show(f"{'converged' if result.converged else 'NOT converged'} in {result.steps} steps with {name}")
    output.show(f"energy: {result.energy_before_eV:.6f} → {result.energy_after_eV:.6f} eV")
    output.show(f"largest force: {result.fmax_before_eV_per_A:.4f} → {result.fmax_eV_per_A:.4f} eV/Å")
    output.show(f"volume: {result.volume_before_A3:.3f} → {result.volume_after_A3:.3f} Å³")
