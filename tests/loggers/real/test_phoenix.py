"""Arize Phoenix itself: tokens once, no cost at full rates, and the exact one with the model that the page describes."""

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from batchmeter.models import ModelUsage, Usage
from batchmeter_otel import OTelLogger, OTelSettings
from batchmeter_traces import BatchLine, LineSample

from .conftest import free_port, running, until

ROOT = Path(__file__).parents[3]
HOME = ROOT / ".cache" / "phoenix" / "bin" / "phoenix"
HEAVY = bool(os.environ.get("BATCHMETER_HEAVY"))
PROJECT = """{ projects { edges { node { name recordCount tokenCountTotal costSummary { total { cost } }
    spans(first: 50) { edges { node { name spanKind tokenCountTotal costSummary { total { cost } } } } } } } } }"""


class Phoenix:
    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        try:
            return "__typename" in self.ask("{ __typename }")
        except OSError:
            return False

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def project(self, name: str, spans: int) -> Any:
        """Once it has stored so many spans: it answers before."""

        def stored() -> Any:
            nodes = [edge["node"] for edge in self.ask(PROJECT)["projects"]["edges"]]
            return next((one for one in nodes if one["name"] == name and one["recordCount"] == spans), None)

        return until(stored)


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory):
    if not HOME.exists() or not HEAVY:
        pytest.skip("takes half a minute to start: run .ci/phoenix.sh (850 MB) and set BATCHMETER_HEAVY=1")
    port, folder = free_port(), str(tmp_path_factory.mktemp("phoenix"))
    names = {"PHOENIX_WORKING_DIR": folder, "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port)}
    own = {"PHOENIX_GRPC_PORT": str(free_port()), "PHOENIX_TELEMETRY_ENABLED": "false"}
    with running(HOME, "serve", **names, **own):
        url = f"http://127.0.0.1:{port}"
        found = Phoenix(url)
        until(found.answers, seconds=150)
        yield found


@pytest.mark.timeout(300)
def test_phoenix_shows_tokens_once_and_the_exact_cost(phoenix, events, monkeypatch):
    unknown = ModelUsage(lines=2, usage=Usage(input_tokens=7), unknown={"unknown_model": 2})
    event = events.succeeded(models={**events.succeeded().models, "gpt-5": unknown}, traceparent=None)
    line = BatchLine(
        id="line-1", time=event.time, custom_id="r-1", reason="ratio", request={"n": 1}, usage=Usage(input_tokens=9)
    )

    def send(project: str) -> None:
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"openinference.project.name={project}")
        settings = OTelSettings(endpoint=phoenix.url, logs=False, metrics=False, openinference=True, lines=LineSample())
        logger = OTelLogger(settings)
        for _ in range(2):  # a resend counts nothing twice
            logger.acreate_batch(events.created(project, traceparent=None))
            logger.batch_success(event.model_copy(update={"batch_id": project}))
            logger.batch_lines(event.model_copy(update={"batch_id": project}), [line])
        logger.close()

    send("without")
    found = phoenix.project("without", spans=6)
    tokens = 1_300_000 + 15 + 7
    kinds = {span["node"]["name"]: span["node"]["spanKind"] for span in found["spans"]["edges"]}
    assert (found["tokenCountTotal"], found["costSummary"]["total"]["cost"] or 0) == (tokens, 0)
    assert kinds["batch gpt-4o-mini-2024-07-18"] == "llm"
    assert set(kinds.values()) == {"llm", "chain"}

    page = (ROOT / "docs" / "loggers" / "phoenix.md").read_text()
    (body,) = re.findall(r"<<'JSON'\n(.*?)\nJSON", page, re.DOTALL)
    phoenix.ask(**json.loads(body))

    def priced() -> Any:
        """Phoenix reads its models every few seconds."""
        name = f"with-{os.urandom(4).hex()}"
        send(name)
        one = phoenix.project(name, spans=6)
        return one if one["costSummary"]["total"]["cost"] else None

    with_model = until(priced)
    costs = {span["node"]["name"]: span["node"]["costSummary"] for span in with_model["spans"]["edges"]}
    assert with_model["costSummary"]["total"]["cost"] == pytest.approx(0.1725015, rel=1e-12)
    assert costs["batch gpt-4o-mini-2024-07-18"]["total"]["cost"] == pytest.approx(0.1725, rel=1e-12)
    assert (costs["batch gpt-5"] or {"total": {"cost": None}})["total"]["cost"] is None
