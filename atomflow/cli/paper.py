"""``atomflow paper``: list, show and check the publication's numbers."""

from __future__ import annotations

import typer

from atomflow.cli.options import Group, Json

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="The publication as data: list, show, check.",
)


@app.command("list")
def list_(
    group: str | None = typer.Option(None, "--group", "-g", help="Only this group, e.g. conductivity or Ea."),
    json_: Json = False,
) -> None:
    """List the printed values, the derived ones and the literature anchors.

    With --group only the printed values of that group are listed.

    \b
    Example:
      atomflow paper list --group conductivity
    """
    from atomflow import paper, plain
    from atomflow.cli import output

    printed = paper.values(group)
    derived = [] if group else list(paper.derived().values())
    anchors = [] if group else list(paper.load().anchors.values())
    if json_:
        output.emit_json({"values": printed, "derived": derived, "literature": anchors})
        return
    rows = [[v.id, v.quantity, v.text(), v.conditions, v.where] for v in printed]
    output.show(plain.table(rows, ["id", "printed quantity", "value", "conditions", "where"]))
    if group:
        return
    rows = [[d.id, d.quantity, d.text(), d.formula] for d in derived]
    output.show("\n" + plain.table(rows, ["id", "derived quantity", "value", "computed as"]))
    rows = [[a.id, a.quantity, a.text(), f"[{a.mark}] {a.source}"] for a in anchors]
    output.show("\n" + plain.table(rows, ["id", "literature anchor", "value", "source"]))


@app.command()
def show(
    name: str = typer.Argument(..., metavar="ID", help="fc.Ea1, d.RSE, lit.Ea_bulk, INC-02, ..."),
    json_: Json = False,
) -> None:
    """Show one value, derived value, literature anchor or check with everything known of it.

    \b
    Example:
      atomflow paper show fc.Ea1
    """
    from atomflow import paper
    from atomflow.cli import output

    item = paper.get(name)
    if json_:
        output.emit_json(item)
        return
    fields = {key: value for key, value in item.to_json().items() if value not in (None, "", [], ())}
    if not isinstance(item, paper.Check):
        fields = {"id": fields.pop("id"), "quantity": fields.pop("quantity"), "value": item.text(), **{
            key: value for key, value in fields.items() if key not in ("value", "unit", "relation", "low", "high")}}
    for key, value in fields.items():
        output.show(f"{key:11s} {_one_line(value)}")


@app.command()
def check(json_: Json = False) -> None:
    """Run the consistency checks of the publication. An inconsistent publication is a finding, not a failure: exit 0.

    \b
    Example:
      atomflow paper check
    """
    from atomflow import paper
    from atomflow.cli import output

    checks, remarks = paper.check(), paper.load().remarks
    counts = {status: sum(c.status == status for c in checks) for status in ("ok", "inconsistent", "cannot decide")}
    if json_:
        output.emit_json({
            "checks": checks,
            "counts": counts,
            "readings": paper.readings(),
            "remarks": [remark.model_dump() for remark in remarks],
        })
        return
    for finding in checks:
        output.show(f"{finding.id}  {finding.status}  ({finding.severity})  {finding.title}")
        output.show(f"        {finding.sentence}")
        output.show(f"        -> {finding.advice}")
    for remark in remarks:
        output.show(f"{remark.id}  not computable  {remark.text}")
    output.show("\n" + ", ".join(f"{number} {status}" for status, number in counts.items()))


def _one_line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {number:.4g}" for key, number in value.items() if isinstance(number, float))
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)
