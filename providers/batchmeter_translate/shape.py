"""Picking through other people's JSON without trusting its types."""

from typing import Any, TypeGuard, TypeVar, cast

from pydantic import BaseModel, ValidationError

from batchmeter.errors import APIResponseError

MOST_PAGES = 10_000
"""Pages of one list: ten million objects."""
Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


def is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def mapping(value: object) -> Json:
    """The value if it is an object, else an empty one."""
    return value if is_object(value) else {}


def sequence(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return value if is_array(value) else []


def objects(value: object) -> list[Json]:
    """The objects of an array; anything else in it is passed over."""
    return [item for item in sequence(value) if is_object(item)]


def whole(value: object) -> int:
    """A counter: int64 comes as a string from Google, and absent or unreadable means 0."""
    try:
        return int(cast("Any", value or 0))
    except (TypeError, ValueError, OverflowError):  # the last of infinity, which Python's JSON reader takes
        return 0


def modelled(model: type[Model], /, **fields: object) -> Model:
    """The model; an optional field in a shape nobody has seen yet is left out rather than the whole answer refused."""
    try:
        return model(**fields)
    except ValidationError as error:
        odd = {str(problem["loc"][0]) for problem in error.errors()}
        try:
            return model(**{name: value for name, value in fields.items() if name not in odd})
        except ValidationError:
            raise APIResponseError(
                f"the vendor described a {model.__name__} without a readable {', '.join(odd)}"
            ) from error


def fresh_token(token: object, used: set[str], what: str) -> str:
    """The token of a list's next page; APIResponseError where it was given before, or where there is no end of them."""
    text = str(token)
    if text in used or len(used) >= MOST_PAGES:
        raise APIResponseError(f"{what} leads in a circle, or has no end: page {len(used) + 1}")
    used.add(text)
    return text


def present(**fields: object) -> Json:
    """An object of the fields that have a value: the importer takes neither nulls nor empty objects."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
