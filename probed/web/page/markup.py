"""Markup by construction: all text is escaped, but for `Html`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup that is safe as it is."""

    __slots__ = ()


Child: TypeAlias = "str | int | Iterable[Child] | None"
"""The content of an element: text, markup, nothing, or several of them."""
EMPTY = Html("")
_VOID = frozenset({"br", "hr", "input", "link", "meta"})


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """`el("a", "text", href="/")`. A trailing `_` of an attribute's name is dropped, others are `-`;
    True is an attribute without a value, False and None are none.
    """
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")  # noqa: PLW2901
        written += f" {key}" if value is True else f' {key}="{escape(str(value))}"'
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{text(children)}</{name}>")


def text(child: Child) -> Html:
    """Return the markup of a child."""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return Html(escape(child))
    if child is None:
        return EMPTY
    if isinstance(child, int):
        return Html(str(child))
    return Html("".join(map(text, child)))
