"""Writing to a shared folder so that a crash, or another worker, meets whole files only."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from batchmeter.errors import ConfigError


@contextmanager
def disk_errors(root: Path) -> Generator[None]:
    """ConfigError for what the disk refuses: it is full, read-only, or somebody else's."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(
            f"the spool {root} cannot be used ({error.strerror or error}): make room or give access, "
            "or set [spool] path to another folder"
        ) from error


def put(path: Path, content: bytes) -> None:
    """The file with this content, durable, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(6)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            flush(file.fileno())
        place(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def place(source: Path, target: Path) -> None:
    """Moves a flushed file to its name, durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync_folder(target.parent)


def flush(descriptor: int) -> None:
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """A new name is durable once its folder is; file systems that cannot do it do it by themselves."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
