"""Runs eight situations through litellm's SDK and through batchmeter, and prints the table of the page.

.ci/litellm.sh && .venv/bin/python docs/compare_litellm.py [--write]

Both talk to the sandbox, each in a process and an environment of its own. `--write` puts the table into
docs/coming-from-litellm.md. Only the SDK is looked at: LiteLLM's proxy with its database is not.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE / "coming-from-litellm.md"
THEIRS = HERE.parent / ".cache" / "litellm" / "bin" / "python"
VERSION = "1.110.2"
BEGIN, END = "<!-- compared -->\n", "<!-- /compared -->"
CHAT = "/v1/chat/completions"
POLLS = 3
PATIENCE = 25
"""Seconds: batchmeter looks at a young batch every 15."""


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="what was found, instead of the table")
    asked = parser.parse_args()
    found = measured()
    if asked.json:
        print(json.dumps(found))
        return 0
    table = "".join(f"| {name} | {theirs} | {ours} |\n" for name, theirs, ours in rows(found))
    text = f"| situation | LiteLLM {VERSION} | batchmeter |\n|---|---|---|\n{table}"
    print(text)
    if asked.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


def measured() -> dict[str, dict[str, Any]]:
    """Answers of the child processes, by program."""
    return {name: _of(name, python) for name, python in {"litellm": THEIRS, "batchmeter": Path(sys.executable)}.items()}


def _of(name: str, python: Path) -> dict[str, Any]:
    from batchmeter.testing.sandbox import sandbox_thread  # noqa: PLC0415 - not there in litellm's environment

    with sandbox_thread() as sandbox, tempfile.TemporaryDirectory() as home:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "OPENAI_BASE_URL": sandbox.url,
            "OPENAI_API_KEY": "sk-compare",
            "BATCHMETER_LEDGER": str(Path(home, "ledger.db")),
            "BATCHMETER_PLUGINS": "",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "CRITICAL",
        }
        found: dict[str, Any] = {}
        for task in TASKS:
            command = [str(python), __file__, "--child", name, task, json.dumps(found)]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)  # noqa: S603
            assert done.returncode == 0, done.stderr[-3000:]
            found[task] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(found: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Situation, and what became of it in either."""
    names = {
        "polls": f"a batch is retrieved until it has ended, then {POLLS} times more: endings, with their cost, that a logger hears",
        "next_process": "the same batch, retrieved in a second process: endings heard there",
        "never_asked": f"a batch that nobody retrieves; the process lives on for {PATIENCE} s: endings heard",
        "unknown_model": "an answer of a model without a price: its cost",
        "no_usage": "one of 20 answers without usage: the batch's cost",
        "expired": "a batch that expired half done: the cost that a logger hears",
        "long_prompt": "an answer with a prompt of 300,000 tokens (gpt-5.4 costs double from 272,000): its cost",
        "lost_answer": "the answer to a create is lost on its way: batches at the provider",
    }
    return [(text, _word(found["litellm"][task]), _word(found["batchmeter"][task])) for task, text in names.items()]


def _word(value: Any) -> str:
    value = value["endings"] if isinstance(value, dict) else value
    return (
        "unknown, with the reason"
        if value is None
        else f"${value}"
        if isinstance(value, str) and value[:1].isdigit()
        else str(value)
    )


def lines(count: int = 20, model: str = "gpt-5-mini") -> bytes:
    """An input file."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is a tide?"}], "max_completion_tokens": 50}
    rows = ({"custom_id": f"r-{n}", "method": "POST", "url": CHAT, "body": body} for n in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def answer(model: str, prompt: int, completion: int) -> dict[str, Any]:
    """A line of an output file."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    body = {"id": "x", "object": "chat.completion", "model": model, "choices": [], "usage": usage}
    return {"id": "1", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}


class Both:
    """The calls that are the same in both, over the module of this name."""

    def __init__(self, name: str) -> None:
        self.module: Any = import_module(name)
        self.heard: list[tuple[str, Any]] = []
        self.listen()

    def listen(self) -> None:
        """A logger that keeps what it hears."""
        raise NotImplementedError

    async def cost_of(self, row: dict[str, Any]) -> str | None:
        """The cost of one answer."""
        raise NotImplementedError

    async def submit(self, count: int = 20, **metadata: str) -> Any:
        file = await self.module.acreate_file(
            file=("in.jsonl", lines(count)), purpose="batch", custom_llm_provider="openai"
        )
        return await self.module.acreate_batch(
            completion_window="24h",
            endpoint=CHAT,
            input_file_id=file.id,
            custom_llm_provider="openai",
            metadata=metadata or None,
        )

    async def retrieve(self, batch_id: str) -> Any:
        return await self.module.aretrieve_batch(batch_id=batch_id, custom_llm_provider="openai")

    async def ended(self, batch_id: str) -> Any:
        """The batch, looked at until it is there whole."""
        while True:
            batch = await self.retrieve(batch_id)
            if batch.status in {"completed", "expired", "failed"}:
                return batch

    def endings(self) -> list[Any]:
        """Costs of the endings heard."""
        return [cost for kind, cost in self.heard if kind == "ending"]


class LiteLLM(Both):
    """litellm and a CustomLogger."""

    def listen(self) -> None:
        custom_logger: Any = import_module("litellm.integrations.custom_logger").CustomLogger

        heard = self.heard

        class Logger(custom_logger):  # type: ignore[misc]  # not there for a type checker
            async def async_log_success_event(
                self,
                kwargs: Any,
                response_obj: Any,
                start_time: Any,  # noqa: ARG002 - given by name
                end_time: Any,  # noqa: ARG002 - given by name
            ) -> None:
                done = getattr(response_obj, "status", None) in {"completed", "expired", "failed"}
                kind = "ending" if kwargs.get("call_type") == "aretrieve_batch" and done else "other"
                heard.append((kind, kwargs.get("response_cost")))

        self.module.callbacks = [Logger()]

    async def cost_of(self, row: dict[str, Any]) -> str | None:
        utils: Any = import_module("litellm.batches.batch_utils")

        return _money((await utils.calculate_batch_cost_and_usage([row], "openai")).cost)


class Ours(Both):
    """batchmeter and a callback."""

    def listen(self) -> None:
        @self.module.on("batch_success", "batch_failure", name="compare")
        def _hear(event: Any) -> None:
            self.heard.append(("ending", event.cost.total))

    async def cost_of(self, row: dict[str, Any]) -> str | None:
        async def output() -> AsyncIterator[bytes]:
            yield json.dumps(row).encode() + b"\n"

        return _money((await self.module.ameter(output())).cost.total)


def _money(cost: Any) -> str | None:
    return None if cost is None else f"{float(cost):.9f}".rstrip("0").rstrip(".") or "0"


async def polls(both: Both, _: dict[str, Any]) -> Any:
    batch = await both.ended((await both.submit()).id)
    for _poll in range(POLLS):
        await both.retrieve(batch.id)
    await asyncio.sleep(2)
    return {"id": batch.id, "endings": len(both.endings())}


async def next_process(both: Both, found: dict[str, Any]) -> Any:
    await both.retrieve(found["polls"]["id"])
    await asyncio.sleep(2)
    return len(both.endings())


async def never_asked(both: Both, _: dict[str, Any]) -> Any:
    await both.submit()
    await asyncio.sleep(PATIENCE)
    return len(both.endings())


async def unknown_model(both: Both, _: dict[str, Any]) -> Any:
    return await both.cost_of(answer("a-model-of-tomorrow", 1000, 500))


async def long_prompt(both: Both, _: dict[str, Any]) -> Any:
    return await both.cost_of(answer("gpt-5.4", 300_000, 1_000))


async def no_usage(both: Both, _: dict[str, Any]) -> Any:
    await both.ended((await both.submit(sandbox="no_usage=1")).id)
    await asyncio.sleep(2)
    return _money(both.endings()[-1])


async def expired(both: Both, _: dict[str, Any]) -> Any:
    await both.ended((await both.submit(sandbox="outcome=expired")).id)
    await asyncio.sleep(2)
    return _money(both.endings()[-1]) if both.endings() else "no ending"


async def lost_answer(both: Both, _: dict[str, Any]) -> Any:
    before = len(await _batches(both))
    file = await both.module.acreate_file(file=("in.jsonl", lines(1)), purpose="batch", custom_llm_provider="openai")
    try:
        await both.module.acreate_batch(
            completion_window="24h",
            endpoint=CHAT,
            input_file_id=file.id,
            custom_llm_provider="openai",
            extra_headers={"x-sandbox-fault": "lose_answer POST /v1/batches"},
        )
    except Exception as error:  # noqa: BLE001 - the outcome is the number of batches
        print(type(error).__name__, file=sys.stderr)
    return len(await _batches(both)) - before


async def _batches(both: Both) -> list[Any]:
    page = await both.module.alist_batches(limit=100, custom_llm_provider="openai")
    return list(page.data)


TASKS: dict[str, Callable[[Both, dict[str, Any]], Any]] = {
    task.__name__: task
    for task in (polls, next_process, never_asked, unknown_model, no_usage, expired, long_prompt, lost_answer)
}


def child(name: str, task: str, found: str) -> None:
    """One situation in one program; its outcome is the last line."""
    both = {"litellm": LiteLLM, "batchmeter": Ours}[name](name)
    print(json.dumps(asyncio.run(TASKS[task](both, json.loads(found)))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
