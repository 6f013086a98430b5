"""Mixed traffic with kills, on both engines: nothing is lost, nothing ends twice, sums are the sandbox's own. Linux only (/proc).

python benchmarks/soak.py [--minutes 10] [--engine sqlite|postgres|both] [--postgres postgresql://…] [--fuzz 0.1]

Two sandboxes are served over HTTP. Programs submit with the SDK and through two proxies, trackers follow; one proxy, one
tracker and the submitting program are killed (SIGKILL) every few seconds and started again, the others live through it.
Then everything comes to its end, and the ledger is compared with the sandboxes. A share of the time (`--fuzz`) goes to
the fuzzers of the meter and of the command line. Without `--postgres`, a server of its own is made where it is
installed. Prints one JSON line an engine; exits with 1 on a lost or double ending, differing sums, memory that grows by more than
5 MB a minute after the first two, or a fuzzer's find.
"""

import argparse
import asyncio
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from servers import free_port

from batchmeter import AsyncClient
from batchmeter.cli.ledger_check import check
from batchmeter.errors import BatchmeterError
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.models import Usage
from batchmeter.rounds.durations import settled
from batchmeter.testing.sandbox import Sandbox, sandbox_thread
from batchmeter.tracker.schedule import TrackerOptions
from batchmeter.tracker.tracker import Tracker

HERE = Path(__file__).resolve().parent
OPTIONS = TrackerOptions(lease=6.0, idle=0.5, reconcile=5.0, requests_per_second=1000)
"""As a tracker has them, but what a kill leaves behind is taken up in seconds."""
ENDPOINT = "/v1/chat/completions"
SCRIPTS = ("", "", "", "fail=0.3", "outcome=expired done=0.5", "outcome=cancelled", "lag=2", "no_usage=1")
SETTLE_SECONDS = 240.0
"""Longest time for everything to end once nobody submits."""
PAUSE = 0.15
"""Between two submissions of one program."""
WARM_SECONDS = 120.0
"""Until caches are full: memory is measured from then on, or from a third of a shorter run on."""
STEEPEST = 5.0
"""MB a minute that a program may grow at most; judged where at least two minutes were measured."""
JUDGED_SECONDS = 120.0


@dataclass
class Worker:
    """A program of ours, started again when it has been killed."""

    name: str
    command: list[str]
    log: Path
    mortal: bool
    samples: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])
    """Monotonic time, MB, descriptors: of those that are not killed."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, start_new_session=True)

    def kill(self) -> None:
        """The whole session: a proxy has worker processes."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def pids(self) -> list[int]:
        found = [self.process.pid] if self.process is not None else []
        for pid in found:
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def sample(self) -> None:
        with suppress(OSError):
            memory = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
            descriptors = max(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids())
            megabytes = memory * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.samples.append((time.monotonic(), megabytes, descriptors))

    def steady(self) -> list[tuple[float, float, int]]:
        """Samples of the warm program."""
        if not self.samples:
            return []
        began, ended = self.samples[0][0], self.samples[-1][0]
        warm = began + min(WARM_SECONDS, (ended - began) / 3)
        return [sample for sample in self.samples if sample[0] >= warm]

    def grows(self) -> bool:
        """Whether it was watched for long enough, and its memory grew faster than it may."""
        steady, slope = self.steady(), self.slope()
        return slope is not None and slope > STEEPEST and steady[-1][0] - steady[0][0] >= JUDGED_SECONDS

    def slope(self) -> float | None:
        """MB a minute by least squares."""
        steady = self.steady()
        if len(steady) < 10:
            return None
        times, sizes = [at / 60 for at, _, _ in steady], [size for _, size, _ in steady]
        middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
        spread = sum((at - middle) ** 2 for at in times)
        return round(sum((at - middle) * (size - mean) for at, size in zip(times, sizes, strict=True)) / spread, 2)


@dataclass
class Report:
    """The outcome of one engine's share."""

    engine: str
    seconds: float = 0.0
    kills: int = 0
    batches: int = 0
    """Batches that the sandboxes know."""
    events: int = 0
    events_per_batch: float = 0.0
    lost: int = 0
    """Batches without an ending."""
    doubled: int = 0
    """Batches with two."""
    unknown_to_sandboxes: int = 0
    differing: int = 0
    """Batches whose usage is not the sandbox's."""
    output_tokens: int = 0
    output_tokens_expected: int = 0
    wrong: dict[str, int] = field(default_factory=dict[str, int])
    """Findings of `ledger check`."""
    open_at_the_end: int = 0
    """Intents that are neither batches nor given up: their calls may never have reached the sandbox."""
    memory_slope: dict[str, float | None] = field(default_factory=dict[str, float | None])
    """MB a minute."""
    growing: list[str] = field(default_factory=list[str])
    """Programs that grow faster than they may."""
    memory: dict[str, float] = field(default_factory=dict[str, float])
    """Highest, MB."""
    descriptors: dict[str, int] = field(default_factory=dict[str, int])
    """Highest number at once."""

    @property
    def holds(self) -> bool:
        counts = self.lost + self.doubled + self.unknown_to_sandboxes + self.differing
        return (
            self.batches > 0
            and not counts
            and not self.wrong
            and not self.growing
            and self.output_tokens == self.output_tokens_expected
        )


async def soak(engine: str, url: str, folder: Path, seconds: float, seed: int = 1) -> Report:
    """Traffic and kills for so long, then rest, then the comparison."""
    report = Report(engine)
    with sandbox_thread(speed=1500, seed=1) as first, sandbox_thread(speed=400, seed=2) as second:
        boxes = {"openai": first, "other": second}
        config = write_settings(folder, url, boxes)
        ports = [free_port(), free_port()]
        workers = programs(config, ports, folder)
        ledger = open_ledger(url)
        await ledger.open()
        try:
            for worker in workers:
                worker.start()
            began = time.monotonic()
            await traffic(workers, ports, report, seconds, random.Random(seed))
            report.seconds = round(time.monotonic() - began, 1)
            await rest(ledger, workers, boxes)
        finally:
            for worker in workers:
                worker.kill()
        await compare(ledger, boxes, report)
        await ledger.aclose()
    for worker in workers:
        if not worker.mortal and worker.samples:
            report.memory_slope[worker.name] = worker.slope()
            report.growing += [worker.name] if worker.grows() else []
            report.memory[worker.name] = round(max(size for _, size, _ in worker.samples), 1)
            report.descriptors[worker.name] = max(count for _, _, count in worker.samples)
    return report


def write_settings(folder: Path, url: str, boxes: dict[str, Sandbox]) -> Path:
    sections = "".join(
        f'[accounts.{name}]\nprovider = "openai"\napi_key = "sk-soak"\napi_base = {json.dumps(box.url)}\n\n'
        for name, box in boxes.items()
    )
    config = folder / "batchmeter.toml"
    events = json.dumps(str(folder / "events.jsonl"))
    config.write_text(
        f'ledger = {json.dumps(url)}\ntrack = false\nload = ["file"]\n\n{sections}[plugins.file]\npath = {events}\n'
    )
    return config


def programs(config: Path, ports: list[int], folder: Path) -> list[Worker]:
    serve = [sys.executable, "-m", "batchmeter", "--config", str(config), "serve", "--no-track", "--port"]
    ours = [sys.executable, str(Path(__file__).resolve()), "--config", str(config)]
    return [
        Worker("proxy", [*serve, str(ports[0])], folder / "proxy.log", mortal=False),
        Worker("proxy_killed", [*serve, str(ports[1])], folder / "proxy_killed.log", mortal=True),
        Worker("tracker", [*ours, "--role", "track"], folder / "tracker.log", mortal=False),
        Worker("tracker_killed", [*ours, "--role", "track"], folder / "tracker_killed.log", mortal=True),
        Worker("submitter_killed", [*ours, "--role", "submit"], folder / "submitter.log", mortal=True),
    ]


async def traffic(
    workers: list[Worker], ports: list[int], report: Report, seconds: float, chance: random.Random
) -> None:
    """Calls of the proxies, samples, and kills."""
    callers = [asyncio.create_task(call_proxy(port, chance.randrange(10**6))) for port in ports]
    mortal = [worker for worker in workers if worker.mortal]
    end, next_kill = time.monotonic() + seconds, time.monotonic() + 8
    while (now := time.monotonic()) < end:
        for worker in workers:
            if not worker.mortal:
                worker.sample()
        if now >= next_kill:
            victim = chance.choice(mortal)
            await asyncio.to_thread(victim.kill)
            victim.start()
            report.kills += 1
            next_kill = now + chance.uniform(4, 8)  # so that a program gets to work in between
        await asyncio.sleep(1)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)


async def call_proxy(port: int, seed: int) -> None:
    """Uploads, creates, lists and downloads, for ever; a proxy that is away is tried again."""
    chance = random.Random(seed)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=30, trust_env=False) as http:
        while True:
            account = {"custom-llm-provider": chance.choice(["openai", "other"])}
            with suppress(httpx.HTTPError, KeyError, ValueError):
                files = {"file": ("soak.jsonl", requests(chance))}
                uploaded = (await http.post("/files", files=files, data={"purpose": "batch"}, headers=account)).json()
                body = {"input_file_id": uploaded["id"], "endpoint": ENDPOINT, "completion_window": "24h"}
                body["metadata"] = {"sandbox": chance.choice(SCRIPTS)}
                made = (await http.post("/batches", json=body, headers=account)).json()
                await http.get(f"/batches/{made['id']}", headers=account)
                page = (await http.get("/batches?limit=20", headers=account)).json()
                for output in [one["output_file_id"] for one in page["data"] if one["output_file_id"]][:1]:
                    await http.get(f"/files/{output}/content", headers=account)
            await asyncio.sleep(PAUSE)


def requests(chance: random.Random) -> bytes:
    lines = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": ENDPOINT,
            "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"question {chance.random()}"}]},
        }
        for number in range(chance.randint(1, 40))
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


async def rest(ledger: Ledger, workers: list[Worker], boxes: dict[str, Sandbox]) -> None:
    """Nobody submits any more; trackers settle what there is."""
    for worker in workers:
        if worker.name.startswith(("submitter", "proxy")):
            await asyncio.to_thread(worker.kill)
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        known = await endings(ledger)
        if all((account, batch_id) in known for account, batch_id in made(boxes)):
            return
        await asyncio.sleep(2)


def made(boxes: dict[str, Sandbox]) -> Iterator[tuple[str, str]]:
    for account, box in boxes.items():
        yield from ((account, batch_id) for batch_id in list(box.engine.batches.records.order))


async def endings(ledger: Ledger) -> Counter[tuple[str, str]]:
    """First revisions by batch: a revision is no second ending."""
    found, after = Counter[tuple[str, str]](), 0
    while page := await ledger.events(after=after, limit=5000):
        after = page[-1].seq
        ended = (one.event for one in page if one.event.type in {"batch_success", "batch_failure"})
        found.update((event.account, event.batch_id) for event in ended if getattr(event, "revision", 1) == 1)
    return found


async def compare(ledger: Ledger, boxes: dict[str, Sandbox], report: Report) -> None:
    known, batches = await endings(ledger), set(made(boxes))
    report.batches = len(batches)
    report.lost = sum(known[batch] == 0 for batch in batches)
    report.doubled = sum(count > 1 for count in known.values())
    report.unknown_to_sandboxes = len(known.keys() - batches)
    health = await check(ledger)
    report.wrong, report.events = health.wrong, health.rows["event"]
    report.events_per_batch = round(report.events / max(len(batches), 1), 3)
    report.open_at_the_end = len(await ledger.open_intents(created_before=ledger.now() + 1))
    found, expected = Usage(), Usage()
    async for settlement in settled(ledger):
        own = (await boxes[settlement.account].engine.totals(settlement.batch_id)).usage
        report.differing += settlement.usage != own
        found, expected = found + settlement.usage, expected + own
    report.output_tokens, report.output_tokens_expected = found.output_tokens, expected.output_tokens


async def track(config: str) -> None:
    async with AsyncClient(config=config) as client:
        ledger, plugins = client.ledger, client.plugins
        await Tracker(
            ledger, client.accounts, plugins, client.prices, options=OPTIONS, on_event=client.deliverer.notify
        ).run()


async def submit(config: str) -> None:
    """Two loops of the SDK's calls, for ever."""
    async with AsyncClient(config=config) as client:
        await asyncio.gather(*(_submit(client, random.Random()) for _ in range(2)))


async def _submit(client: AsyncClient, chance: random.Random) -> None:
    while True:
        account = chance.choice(["openai", "other"])
        with suppress(BatchmeterError):
            uploaded = await client.files.create(
                file=("soak.jsonl", requests(chance)), purpose="batch", custom_llm_provider=account
            )
            metadata = {"sandbox": chance.choice(SCRIPTS)}
            await client.batches.create(
                input_file_id=uploaded.id, endpoint=ENDPOINT, metadata=metadata, custom_llm_provider=account
            )
        await asyncio.sleep(PAUSE)


@contextmanager
def postgres(given: str | None) -> Iterator[str | None]:
    """The URL that was given, or of a server for this run alone; None where none is installed."""
    if given is not None:
        yield given
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = programs[-1] if programs else shutil.which("initdb")
    if not initdb:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bm-soak-pg-") as folder:
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = pwd.getpwnam("postgres")
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)

        def run(program: str, *arguments: str) -> None:
            command = [str(Path(initdb).parent / program), *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

        data = f"{folder}/data"
        run("initdb", "-D", data, "-U", "ledger", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://ledger@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def fuzz(seconds: float) -> dict[str, Any]:
    """Both fuzzers, with ever more examples until the time is over."""
    end, examples, passes = time.monotonic() + seconds, 1000, 0
    while True:
        environ = {**os.environ, "BATCHMETER_FUZZ_EXAMPLES": str(examples)}
        tests = ["tests/metering/test_fuzz.py", "tests/cli/test_fuzz.py"]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", *tests]
        done = subprocess.run(command, cwd=HERE.parent, env=environ, capture_output=True, text=True, check=False)
        passes += 1
        if done.returncode or time.monotonic() >= end:
            found = done.stdout[-4000:] if done.returncode else ""
            return {"fuzzed": passes * examples * len(tests), "found": found}


def run_engine(engine: str, url: str | None, seconds: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="bm-soak-", ignore_cleanup_errors=True) as folder:
        report = asyncio.run(soak(engine, url or f"{folder}/ledger.db", Path(folder), seconds))
        print(json.dumps({**vars(report), "holds": report.holds}), flush=True)
        if not report.holds:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"-- {log.name}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
    return report.holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--engine", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--postgres", metavar="URL", help="an empty database; default: a server of its own")
    parser.add_argument("--fuzz", type=float, default=0.1, help="share of the time for the fuzzers")
    parser.add_argument("--role", choices=["track", "submit"], help=argparse.SUPPRESS)
    parser.add_argument("--config", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        with suppress(KeyboardInterrupt):
            asyncio.run({"track": track, "submit": submit}[options.role](options.config))
        return
    engines = ["sqlite", "postgres"] if options.engine == "both" else [options.engine]
    seconds = options.minutes * 60 * (1 - options.fuzz) / len(engines)
    held = []
    if "sqlite" in engines:
        held.append(run_engine("sqlite", None, seconds))
    if "postgres" in engines:
        with postgres(options.postgres) as url:
            if url is None:
                sys.exit("PostgreSQL's server is not installed: give --postgres URL, or --engine sqlite")
            held.append(run_engine("postgres", url, seconds))
    if options.fuzz:
        found = fuzz(options.minutes * 60 * options.fuzz)
        print(json.dumps(found), flush=True)
        held.append(not found["found"])
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
