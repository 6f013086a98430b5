"""Pieces of HTML with places to fill: ten times as fast as elements, for the parts that a page has many of."""

from collections.abc import Generator, Iterable
from typing import cast

import htpy as h
from markupsafe import Markup, escape


class Piece:
    """HTML of ours with `%s` where something else goes. A text that is put there is escaped, in an attribute too."""

    def __init__(self, html: str) -> None:
        self._first, *self._rest = html.split("%s")

    def __call__(self, *nodes: h.Node) -> Markup:
        parts = [self._first]
        for node, rest in zip(nodes, self._rest, strict=True):
            parts += (html_of(node), rest)
        return Markup("".join(parts))  # noqa: S704 - all that is not ours was escaped


def html_of(node: h.Node) -> str:
    """A node as it will be sent."""
    kind = type(node)
    if kind is Markup:
        return str(node)
    if kind is str:
        return escape(node)
    if node is None:
        return ""
    if isinstance(node, list | tuple | Generator):
        return "".join([html_of(each) for each in cast("Iterable[h.Node]", node)])
    return str(h.fragment[node])


def joined(*nodes: h.Node) -> Markup:
    return Markup("".join(map(html_of, nodes)))  # noqa: S704 - html_of has escaped it
