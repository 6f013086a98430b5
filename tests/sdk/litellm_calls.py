"""The same calls through `litellm` or `batchmeter`, named by the first argument: prints what each came to, as JSON.

The address of an OpenAI and its key are in the environment, under the variables that both read.
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import httpx

CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}
LINE = json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": BODY}).encode() + b"\n"
ll: Any = importlib.import_module(sys.argv[1])
URL = os.environ["OPENAI_BASE_URL"]
KEY = os.environ["OPENAI_API_KEY"]
results: dict[str, Any] = {}


def attempt(name: str, call: Callable[[], Any]) -> None:
    try:
        results[name] = call()
    except Exception as error:  # noqa: BLE001 - the outcome, whatever it is
        results[name] = f"{type(error).__name__}: {str(error)[:200]}"


def openai_client() -> Any:
    return importlib.import_module("openai").OpenAI(base_url=URL, api_key=KEY)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def chunks(content: Any) -> list[int]:
    return [len(chunk) async for chunk in content]


async def all_of(page: Any) -> int:
    return len([one async for one in page])


async def _walk() -> int:
    return await all_of(await ll.alist_batches(limit=2, **where))


async def _stream() -> int:
    content = await ll.afile_content(file_id=file.id, stream=True, chunk_size=40, **where)
    return sum(await chunks(content))


def _peeked() -> Any:
    import io

    handle = io.BytesIO()
    handle.name = "peeked.jsonl"
    handle.write(LINE)
    return handle


file = ll.create_file(file=("x.jsonl", LINE), purpose="batch", custom_llm_provider="openai")
batches = [
    ll.create_batch(completion_window="24h", endpoint=CHAT, input_file_id=file.id, custom_llm_provider="openai")
    for _ in range(5)
]
one, other = batches[:2]
where = {"custom_llm_provider": "openai"}
ids = {"batch_id": one.id, **where}
attempt("create positional", lambda: ll.create_batch("24h", CHAT, file.id).endpoint)
attempt("create provider positional", lambda: ll.create_batch("24h", CHAT, file.id, "openai", {"a": "b"}).metadata)
asked = {"completion_window": "24h", "endpoint": CHAT, "input_file_id": file.id, **where}
for label, more in {
    "litellm_metadata": {"litellm_metadata": {"tags": ["t"]}},
    "metadata": {"metadata": {"a": "b"}},
    "timeout": {"timeout": httpx.Timeout(30)},
    "float timeout": {"timeout": 30.0},
    "num_retries": {"num_retries": 1},
    "max_retries": {"max_retries": 1},
    "user": {"user": "ana"},
    "key and base": {"api_key": KEY, "api_base": URL},
    "extra headers": {"extra_headers": {"x-a": "b"}},
    "hosted_vllm": {"custom_llm_provider": "hosted_vllm", "api_base": URL, "api_key": KEY},
    "litellm_proxy": {"custom_llm_provider": "litellm_proxy", "api_base": URL, "api_key": KEY},
    "client": {"client": openai_client()},
}.items():
    attempt(f"create {label}", lambda more=more: ll.create_batch(**{**asked, **more}).input_file_id)
    attempt(f"retrieve {label}", lambda more=more: ll.retrieve_batch(**{**ids, **more}).id)
attempt("retrieve positional", lambda: ll.retrieve_batch(one.id, "openai").id)
attempt("retrieve async", lambda: run(ll.aretrieve_batch(one.id, "openai")).id)
attempt("item", lambda: one["id"] == one.id)
attempt("get", lambda: [one.get("id") == one.id, one.get("nothing", 7)])
attempt("in", lambda: ["id" in one, "nothing" in one])
attempt("model_dump", lambda: one.model_dump()["id"])
attempt("list positional", lambda: len(ll.list_batches(None, 2).data))
attempt("list has next", lambda: ll.list_batches(limit=2, **where).has_next_page())
attempt("list next page", lambda: len(ll.list_batches(limit=2, **where).get_next_page().data))
attempt("list walks all", lambda: len([b.id for b in ll.list_batches(limit=2, **where)]) > len(batches))
attempt("list async walks all", lambda: run(_walk()) > len(batches))
attempt("cancel", lambda: ll.cancel_batch(other.id, custom_llm_provider="openai").id)
attempt("file retrieve", lambda: ll.file_retrieve(file.id, "openai").id)
attempt("file retrieve async", lambda: run(ll.afile_retrieve(file.id, "openai")).id)
attempt("file list", lambda: [f.id for f in ll.file_list("openai", "batch")].count(file.id))
attempt("file content", lambda: ll.file_content(file_id=file.id, **where).content == LINE)
attempt("file content text", lambda: ll.file_content(file_id=file.id, **where).text == LINE.decode())
attempt("file content encoding", lambda: ll.file_content(file_id=file.id, **where).encoding)
attempt("file content response", lambda: ll.file_content(file_id=file.id, **where).response.status_code)
attempt("file content lines", lambda: list(ll.file_content(file_id=file.id, **where).iter_lines()))
attempt("file content bytes", lambda: b"".join(ll.file_content(file_id=file.id, **where).iter_bytes()) == LINE)
attempt("file content async", lambda: run(ll.afile_content(file.id, "openai")).content == LINE)
attempt("file stream", lambda: sum(map(len, ll.file_content(file_id=file.id, stream=True, chunk_size=40, **where))))
attempt("file stream async", lambda: run(_stream()))
attempt("handle from its start", lambda: ll.create_file(file=_peeked(), purpose="batch", **where).bytes)
attempt("file delete", lambda: ll.file_delete(file_id=file.id, **where).deleted)


names = (
    "create_batch retrieve_batch cancel_batch list_batches create_file file_retrieve file_list file_delete file_content"
)
signatures = {
    f"{kind}{name}": [
        parameter.name
        for parameter in inspect.signature(inspect.unwrap(getattr(ll, f"{kind}{name}"))).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    for kind in ("", "a")
    for name in names.split()
}
told = (
    json.dumps({"results": results, "signatures": signatures})
    .replace(file.id, "FILE")
    .replace(one.id, "ONE")
    .replace(other.id, "OTHER")
)
sys.stdout.write(told + "\n")
