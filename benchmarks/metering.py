"""How fast, small and unobtrusive metering is: next to LiteLLM on the same file, and to a bare typed decode of its lines.

    .venv/bin/python benchmarks/metering.py            50,000 lines, 200 MB (LiteLLM takes minutes on it)
    .venv/bin/python benchmarks/metering.py --quick    2,000 lines

Each measurement runs in a process of its own. LiteLLM gets an environment of its own under .cache/, made on first use.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import outputs

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
LITELLM = CACHE / "litellm"
REQUIREMENTS = HERE / "litellm.txt"
PRICED_AT = "2026-11-10"

TIMES_LITELLM = 100
"""On chat. Of embeddings LiteLLM decodes the numbers, which is most of the work: a bare decode is no 100x there."""
MEGABYTES, STALL_MS = 40, 20
OF_BARE_DECODE = {"chat": 0.6, "embeddings": 1.0}
"""Share of a bare typed decode's speed; a vector's numbers are cut out, so that embeddings are faster than it."""

Report = dict[str, Any]


def scan(path: Path) -> Report:
    """The limit: find the newlines."""
    with path.open("rb") as file:
        return {"lines": sum(1 for _ in file)}


def ours(path: Path) -> Report:
    from batchmeter import meter

    meter([b""])  # imports and the price book, as LiteLLM has its own by now
    started = time.perf_counter(), time.process_time()
    found = meter(path, priced_at=PRICED_AT)
    return {"lines": found.lines.total, "cost": str(found.cost.total), "started": started}


def floor(path: Path) -> Report:
    """Ours, and a bare typed decode of the same lines into structs, by turns in one process: CPU seconds of each."""
    import bare_decode

    from batchmeter import meter

    meter([b""])
    bare, own = [], []
    for _ in range(5):
        started = time.process_time()
        with path.open("rb") as file:
            for line in file:
                bare_decode.decode(line)
        bare.append(time.process_time() - started)
        started = time.process_time()
        meter(path, priced_at=PRICED_AT)
        own.append(time.process_time() - started)
    return {"lines": 0, "bare": min(bare), "own": min(own)}


def nothing(path: Path) -> Report:
    """An interpreter that only looks at the file's name: the memory to compare with."""
    return {"lines": 0, "path": str(path)}


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(65536):
            await asyncio.sleep(0)  # as a download does: the loop goes round between chunks
            yield chunk


class Watch:
    """The longest time between two turns of a loop that wants one every millisecond: by the clock, and in CPU time of
    this process, which other programs on the machine do not lengthen.
    """

    def __init__(self) -> None:
        self.clock = self.work = 0.0
        self._over = False

    async def during(self, work: Awaitable[object]) -> "Watch":
        watching = asyncio.create_task(self._watch())
        await work
        self._over = True
        await watching
        return self

    async def _watch(self) -> None:
        while not self._over:
            clock, work = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            self.clock = max(self.clock, (time.perf_counter() - clock - 0.001) * 1000)
            self.work = max(self.work, (time.process_time() - work) * 1000)


def stall(path: Path) -> Report:
    """While metering, and while idle."""
    from batchmeter import ameter

    async def both() -> Report:
        started = time.perf_counter()
        busy = await Watch().during(ameter(_chunks(path), priced_at=PRICED_AT))
        idle = await Watch().during(asyncio.sleep(time.perf_counter() - started))
        return {"lines": 0, "stall_ms": busy.clock, "work_ms": busy.work, "idle_ms": idle.clock}

    return asyncio.run(both())


def litellm(path: Path) -> Report:
    from litellm.batches import batch_utils

    started = time.perf_counter(), time.process_time()
    rows = batch_utils.get_file_content_as_dictionary(path.read_bytes())
    found = asyncio.run(batch_utils.calculate_batch_cost_and_usage(rows, "openai"))
    return {"lines": len(rows), "cost": str(found.cost), "started": started}


TASKS: dict[str, Callable[[Path], Report]] = {
    "nothing": nothing,
    "scan": scan,
    "ours": ours,
    "floor": floor,
    "stall": stall,
    "litellm": litellm,
}


def child(name: str, path: Path) -> None:
    """Run one task and print what it took."""
    started = time.perf_counter(), time.process_time()
    report = TASKS[name](path)
    wall, cpu = report.pop("started", started)
    report |= {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 * 1024 if sys.platform == "darwin" else 1024),
    }
    print(json.dumps(report))


def run(name: str, path: Path, python: str = sys.executable) -> Report:
    command = [python, __file__, "--child", name, str(path)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def litellm_python() -> str:
    """Its interpreter; the environment is complete when the marker is there."""
    python = LITELLM / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = LITELLM / "installed.txt"
    if not marker.exists() or marker.read_text() != REQUIREMENTS.read_text():
        print("installing LiteLLM into", LITELLM.relative_to(HERE.parent))
        venv.create(LITELLM, with_pip=True, clear=True, symlinks=os.name != "nt")
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(REQUIREMENTS)]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        marker.write_text(REQUIREMENTS.read_text())
    return str(python)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small files, for a look")
    parser.add_argument("--no-litellm", action="store_true", help="only ours and the limit")
    parser.add_argument("--child", nargs=2, metavar=("TASK", "PATH"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]))
        return 0
    lines, vectors = (2_000, 500) if asked.quick else (outputs.CHAT_LINES, outputs.EMBEDDING_LINES)
    folder = CACHE / "benchmarks"
    files = {
        "chat": outputs.written(folder, "chat", outputs.chat, lines),
        "embeddings": outputs.written(folder, "embeddings", outputs.embeddings, vectors),
    }
    passed = [measure(name, path, with_litellm=not asked.no_litellm) for name, path in files.items()]
    return 0 if all(passed) else 1


def measure(name: str, path: Path, *, with_litellm: bool) -> bool:
    megabytes = path.stat().st_size / 1e6
    own = run("nothing", path)["peak_mb"]
    limit = min((run("scan", path) for _ in range(3)), key=lambda report: report["seconds"])
    best = min((run("ours", path) for _ in range(3)), key=lambda report: report["seconds"])
    stalls = min((run("stall", path) for _ in range(3)), key=lambda report: report["stall_ms"])
    print(f"\n{name}: {best['lines']:,} lines, {megabytes:.0f} MB")
    print("                     lines/s      MB/s   seconds   CPU s   peak MB over the interpreter")
    row("newline scan", limit, megabytes, own)
    row("batchmeter", best, megabytes, own)
    checks = [
        verdict("memory over the interpreter", f"{best['peak_mb'] - own:.1f} MB", best["peak_mb"] - own <= MEGABYTES),
        _stall_verdict(stalls),
    ]
    floor = run("floor", path)
    checks.append(_floor_verdict(name, floor))
    if with_litellm:
        theirs = run("litellm", path, litellm_python())
        row("LiteLLM", theirs, megabytes, own)
        times = theirs["seconds"] / best["seconds"]
        by_cpu = theirs["cpu_seconds"] / best["cpu_seconds"]
        found = f"{times:.0f}x (by CPU time {by_cpu:.0f}x, a bare decode {theirs['cpu_seconds'] / floor['bare']:.0f}x)"
        checks.append(verdict("times LiteLLM's lines/s", found, name != "chat" or times >= TIMES_LITELLM))
        print(f"  cost: batchmeter {best['cost']}, LiteLLM {theirs['cost']}")
    print(f"  {best['seconds'] / limit['seconds']:.1f}x the newline scan")
    return all(checks)


def _floor_verdict(name: str, report: Report) -> bool:
    share = report["bare"] / report["own"]
    return verdict("of a bare typed decode's speed", f"{share:.2f}", share >= OF_BARE_DECODE[name])


def _stall_verdict(stalls: Report) -> bool:
    """By the clock; where an idle loop stalls too, the machine is busy with others, and only our own work can tell."""
    clock, work, idle = stalls["stall_ms"], stalls["work_ms"], stalls["idle_ms"]
    busy = idle > STALL_MS / 4
    judged = work if busy else clock
    why = "judged by work: the machine is busy" if busy else "judged by the clock"
    found = f"{clock:.1f} ms, {work:.1f} ms of it work; idle loop {idle:.1f} ms ({why})"
    return verdict("longest event-loop stall", found, judged <= STALL_MS)


def row(name: str, report: Report, megabytes: float, own: float) -> None:
    seconds = report["seconds"]
    print(
        f"  {name:<16} {report['lines'] / seconds:>11,.0f} {megabytes / seconds:>9,.0f} {seconds:>9.2f} "
        f"{report['cpu_seconds']:>7.2f} {report['peak_mb'] - own:>9.1f}"
    )


def verdict(what: str, found: str, passed: bool) -> bool:
    print(f"  {'pass' if passed else 'FAIL'}  {what}: {found}")
    return passed


if __name__ == "__main__":
    sys.exit(main())
