"""For plugins: shapes of `[plugins.<name>]` that more than one plugin has, as bases of their `Settings`."""

from typing import ClassVar, cast

from pydantic import BaseModel, model_validator

__all__ = ["SettingsWithTables"]


class SettingsWithTables(BaseModel, extra="forbid", frozen=True):
    """Settings with a table for each name: `[plugins.budgets.search]` is short for `[plugins.budgets.budgets.search]`."""

    tables: ClassVar[str]
    """The field that holds the tables, by name."""

    @model_validator(mode="before")
    @classmethod
    def _named_tables(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        section = cast("dict[str, object]", given)
        named = [name for name, one in section.items() if name not in cls.model_fields and isinstance(one, dict)]
        rest = {name: one for name, one in section.items() if name not in named}
        others = rest.get(cls.tables, {})
        if not isinstance(others, dict):
            return rest  # it is refused as such
        tables = cast("dict[str, object]", others)
        if twice := [name for name in named if name in tables]:
            raise ValueError(f"{twice[0]} is given twice: in {cls.tables} too")
        return {**rest, cls.tables: {**tables, **{name: section[name] for name in named}}}
