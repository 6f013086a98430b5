"""Docstrings as Markdown paragraphs, and annotations as people read them."""

import ast
import inspect
import textwrap

WIDTH = 120


def paragraphs(documented: object) -> str:
    """The docstring, wrapped as the pages are."""
    text = inspect.getdoc(documented) or ""
    return "\n\n".join(
        textwrap.fill(" ".join(each.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
        for each in text.split("\n\n")
    )


def type_name(annotation: object) -> str:
    """`'Event | None'` without the quotes; our own names as the types they stand for."""
    if isinstance(annotation, ast.expr):
        text = ast.unparse(annotation)
    else:
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "None")
    names = {"Usd": "Decimal", "Time": "datetime"}
    return " | ".join(names.get(part, part) for part in text.strip("'\"").split(" | "))


def cell(text: str) -> str:
    """One line of a table; a bar would end the cell, in code too."""
    return " ".join(text.split()).replace("|", "\\|")
