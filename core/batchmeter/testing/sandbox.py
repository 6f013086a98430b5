"""The sandbox provider over real HTTP, for tests: in the running loop, or in a thread of its own for sync clients."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchmeter_sandbox import Engine, ManualClock

__all__ = ["Sandbox", "manual_clock", "sandbox_thread", "serve_sandbox"]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is being served."""

    url: str
    """The `base_url` of OpenAI clients, ending in `/v1`; any API key will do."""
    engine: "Engine"
    """`engine.faults.add(…)` for trouble, `await engine.totals(batch_id)` for the sums to expect."""

    def __str__(self) -> str:
        return self.url


@asynccontextmanager
async def serve_sandbox(
    *,
    speed: float = 1_000_000.0,
    seed: int | None = 1,
    script: str = "",
    faults: Iterable[str] = (),
    clock: Callable[[], float] | None = None,
    folder: str | None = None,
    api_key: str | None = None,
    port: int = 0,
    mixed_models: bool = False,
) -> AsyncGenerator[Sandbox]:
    """Serves a new sandbox on a free port; at this speed a batch takes 1.4 ms. See `batchmeter_sandbox.Script`."""
    from batchmeter_sandbox import Engine, serving  # noqa: PLC0415 - the providers are not part of core

    given: dict[str, Any] = {} if clock is None else {"clock": clock}
    engine = Engine(
        folder=folder, seed=seed, speed=speed, script=script, faults=faults, mixed_models=mixed_models, **given
    )
    try:
        async with serving(engine, port=port, api_key=api_key) as server:
            yield Sandbox(server.url, engine)
    finally:
        engine.close()


@contextmanager
def sandbox_thread(**settings: Any) -> Generator[Sandbox]:
    """`serve_sandbox` in a thread with its own loop: for sync clients and child processes."""
    ready = threading.Event()
    started: list[Sandbox] = []
    failed: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        async with serve_sandbox(**settings) as sandbox:
            started.append(sandbox)
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        if started:
            stop[0]()
        thread.join()


def manual_clock() -> "ManualClock":
    """A clock for `serve_sandbox(clock=…, speed=1)`: `clock.advance(60)` ends validation, `advance(1400)` the batch."""
    from batchmeter_sandbox import ManualClock  # noqa: PLC0415

    return ManualClock()
