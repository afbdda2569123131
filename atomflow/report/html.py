"""HTML that cannot forget to escape: plain strings become text, only :class:`Html` passes as markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any


class Html(str):
    """A string that is already markup."""

    __slots__ = ()


_VOID = {"img", "br", "input", "meta", "hr"}


def text(value: Any) -> Html:
    """``value`` as markup: itself when it is :class:`Html`, escaped text otherwise, nothing for ``None``."""
    if value is None:
        return Html("")
    if isinstance(value, Html):
        return value
    return Html(escape(str(value)))


def join(parts: Iterable[Any], separator: str = "") -> Html:
    return Html(separator.join(text(part) for part in parts))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """One element. ``class_`` and ``for_`` lose their underscore, ``data_low`` becomes ``data-low``; an attribute that
    is ``None`` or ``False`` is left out, ``True`` stands alone."""
    shown = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        shown.append(f" {key}" if value is True else f' {key}="{escape(str(value))}"')
    opening = f"<{name}{''.join(shown)}>"
    return Html(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def table(caption: Any, header: Sequence[Any], rows: Iterable[Sequence[Any]], *, id_: str | None = None) -> Html:
    """A table with caption and column headers; the first cell of a row is its header. Scrolls on narrow screens.

    A cell that is a ready ``<td>`` is taken as it is, so that it may carry attributes.
    """
    head = tag("tr", *(tag("th", cell, scope="col") for cell in header))
    body = join(tag("tr", tag("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:])) for row in rows)
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), id=id_)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=_plain(caption))


def _cell(value: Any) -> Html:
    return value if isinstance(value, Html) and value.startswith("<td") else tag("td", value)


def _plain(value: Any) -> str:
    """Markup without its tags, for an attribute."""
    import re
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", text(value)))


def definitions(pairs: Iterable[tuple[Any, Any]]) -> Html:
    """A list of names and values; pairs whose value is ``None`` or empty are left out."""
    kept = [(name, value) for name, value in pairs if value not in (None, "", [])]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in kept))


def json_script(id_: str, data: Any) -> Html:
    """Data for the page's script; cannot end the element early, whatever strings it holds."""
    safe = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for mark, replacement in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        safe = safe.replace(mark, replacement)
    return Html(f'<script type="application/json" id="{escape(id_)}">{safe}</script>')


def asset(name: str) -> str:
    """The text of a file of the page: its template, style and script."""
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")
