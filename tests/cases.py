"""A failure within a loop over cases names its case, as a parametrized test's would."""

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def case(*values: object) -> Generator[None]:
    """Notes these values on what is raised inside."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {', '.join(f'{value!r:.200}' for value in values)}")
        raise
