"""The environment variables that batchmeter reads, found in its sources; a new one needs a line here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .fields import VARIABLE

ROOT = Path(__file__).parents[2]
PREFIXES = (
    "BATCHMETER_",
    "ANTHROPIC_ADMIN",
    "OPENAI_",
    "AZURE_",
    "GOOGLE_",
    "VERTEX",
    "GCS_",
    "STORAGE_",
    "LANGFUSE_",
    "OTEL_",
    "DD_",
)

BY_HAND = {
    "BATCHMETER_CONFIG": "the settings file to read, in place of `batchmeter.toml` here or in the configuration folder",
    "BATCHMETER_BUDGETS": "switches the budgets on that were made by API or command, without `[plugins.budgets]`",
    "BATCHMETER_RECONCILE": "switches the pages and routes of reconciliations on where `[plugins.reconcile]` is not there",
    "BATCHMETER_LEDGER": "`ledger`",
    "BATCHMETER_TRACK": "`track`",
    "BATCHMETER_DEFAULT_ACCOUNT": "`default_account`",
    "BATCHMETER_PLUGINS": "`load`: exactly these, separated by commas",
    "BATCHMETER_DISABLE": "`disable`, separated by commas",
    "BATCHMETER_FILE_PATH": "`[plugins.file] path`",
    "BATCHMETER_SPOOL": "`[spool] path`",
    "BATCHMETER_HTTP": "`httpx` or `httpx2`: the HTTP library to use where both are installed",
    "OPENAI_ADMIN_KEY": "`[plugins.reconcile.<name>] admin_key`, for OpenAI's own address",
    "ANTHROPIC_ADMIN_KEY": "the same, for Anthropic's",
    "OPENAI_WEBHOOK_SECRET": "`[accounts.openai] webhook_secrets`",
    "BATCHMETER_LOG": "`--log-level` and `--log-format`, separated by a comma: `info`, `json`, `info,json`",
    "BATCHMETER_SANDBOX_KEY": "`batchmeter sandbox --api-key`",
    "DD_AGENT_HOST": "`[plugins.datadog] agent_host`",
    "LANGFUSE_OTEL_TRACES_EXPORT_PATH": "where Langfuse takes OTLP traces, if not at its usual path",
    "LANGFUSE_TRACING_ENABLED": "`false`: the `langfuse` logger accepts events and sends nothing",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "`[plugins.otel] endpoint`",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "where traces go, if not to the common endpoint",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "`grpc` is answered with a warning: OTLP/HTTP is spoken, because it acknowledges",
    "OTEL_METRIC_EXPORT_INTERVAL": "`[plugins.otel] metrics_interval`, in milliseconds",
    "OTEL_SDK_DISABLED": "`true`: the `otel` and `langfuse` loggers accept events and send nothing",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "`gen_ai_latest_experimental` adds attributes that are proposed, not settled",
    "STORAGE_EMULATOR_HOST": "a Cloud Storage emulator, which gets no credentials",
}
"""Variables that are no field's default."""
INTERNAL = frozenset({"BATCHMETER_SERVE", "BATCHMETER_SERVE_TRAFFIC"})
"""Between our own processes."""


def environment_table(fields: dict[str, str]) -> str:
    """`fields`: variable -> the setting it stands in for, as the models say."""
    meanings = fields | BY_HAND
    found = set(_in_sources()) | set(fields)
    unexplained = sorted(found - meanings.keys() - INTERNAL)
    stale = sorted(BY_HAND.keys() - found)
    if unexplained or stale:
        raise SystemExit(f"docs/_pages/environment.py: not explained: {unexplained}; no longer read: {stale}")
    rows = [f"| `{name}` | {meanings[name]} |" for name in sorted(found - INTERNAL, key=_order)]
    return "\n".join(["| variable | stands for |", "|---|---|", *rows])


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("BATCHMETER_"), name


def _in_sources() -> Iterator[str]:
    for folder in ("core", "providers", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if not any(_ours(quoted) for quoted in re.findall(r"""["'](\w+)["']""", text)):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ours(node.value):
                    yield node.value


def _ours(text: str) -> bool:
    return text.startswith(PREFIXES) and VARIABLE.fullmatch(text) is not None and not text.endswith("_")
