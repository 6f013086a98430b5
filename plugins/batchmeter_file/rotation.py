"""Names of rotated files: `<name>.1`, `<name>.2`, …; the largest number is the newest."""

from pathlib import Path


def rotated(path: Path) -> list[Path]:
    """Oldest first."""
    prefix = f"{path.name}."
    numbered = [
        (int(number), entry)
        for entry in path.parent.iterdir()
        if entry.name.startswith(prefix) and (number := entry.name[len(prefix) :]).isdecimal()
    ]
    return [entry for _, entry in sorted(numbered)]


def next_free(path: Path) -> Path:
    """After the newest: a number freed by `prune` is not taken again, so names keep the order."""
    names = rotated(path)
    newest = int(names[-1].name.rpartition(".")[2]) if names else 0
    return path.with_name(f"{path.name}.{newest + 1}")


def prune(path: Path, keep: int) -> None:
    for old in rotated(path)[:-keep]:
        old.unlink(missing_ok=True)
