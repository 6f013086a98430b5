"""`batchmeter prices`."""

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from batchmeter.cli import main
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricebook.catalogue import EMBEDDED

from .test_catalogue import newer


def prices(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prices", *arguments])


def test_show_prints_every_tier_and_who_says_so() -> None:
    result = prices("show", "gpt-5.4", "--provider", "openai", "--at", "2026-11-10", "--region", "eu", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["processing"], row["prompt_over"]) for row in rows] == [
        ("batch", 0),
        ("batch", 272_000),
        ("standard", 0),
        ("standard", 272_000),
    ]
    assert rows[0]["usd_per_million"] == {
        "input": "1.375",
        "cached_input": "0.143",
        "image_in": "1.375",
        "cached_image_in": "0.143",
        "output": "8.25",
        "web_search": "10000",
        "file_search": "2500",
        "container": "30000",
    }
    assert (rows[0]["estimated"], rows[0]["flags"], rows[0]["origin"]) == (["container"], [], "correction")


def test_show_asks_everyone_and_marks_estimates() -> None:
    result = prices("show", "gpt-5-codex")
    assert result.exit_code == 0, result.output
    assert "openai" in result.stdout
    assert "azure" in result.stdout
    assert "0.625*" in result.stdout
    assert "estimated" in result.stdout


@pytest.mark.parametrize(
    "listed", ["openai/gpt-5", "groq/openai/gpt-oss-120b", "fireworks/accounts/fireworks/models/glm-5p1"]
)
def test_show_takes_a_model_as_list_prints_it(listed: str) -> None:
    assert listed in prices("list").stdout.splitlines()
    rows = json.loads(prices("show", listed, "--json").stdout)
    assert {f"{row['provider']}/{row['model']}" for row in rows} == {listed}


@pytest.mark.parametrize(
    ("model", "region", "named"),
    [
        ("openai/gpt-5.4", "erope", "eu"),
        ("azure/gpt-5", "data-zone-mars", "data-zone-eu"),
        ("vertex_ai/gemini-2.5-pro", "europe", "europe-west4"),
        ("bedrock/amazon.nova-pro-v1:0", "useast", "us-east-1"),
        ("mistral/mistral-large-4", "us", "eu"),
    ],
)
def test_an_unknown_region_is_an_error_that_names_known_ones(model: str, region: str, named: str) -> None:
    refused = prices("show", model, "--region", region)
    assert refused.exit_code == 2
    assert region in refused.output
    assert named in refused.output
    assert prices("show", model, "--region", named).exit_code == 0


def test_meter_takes_no_region_that_prices_do_not_know(tmp_path: Path) -> None:
    file = tmp_path / "output.jsonl"
    file.write_text("{}\n")
    refused = CliRunner().invoke(main, ["meter", str(file), "--region", "mars"])
    assert refused.exit_code == 2
    assert "openai has no region 'mars'; it takes global, resident, a place such as eu" in refused.output


def test_a_region_of_one_seller_shows_that_one() -> None:
    rows = json.loads(prices("show", "gpt-5.4", "--region", "data-zone-eu", "--json").stdout)
    assert {row["provider"] for row in rows} == {"azure"}


def test_show_knows_the_users_rows(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[prices."hosted_vllm/llama"]\nbatch = { input = "0.1", output = "0.2" }\n')
    result = prices("show", "llama", "--prices", str(file), "--json")
    assert [row["origin"] for row in json.loads(result.stdout)] == ["user"]


def test_show_says_what_to_do_about_an_unknown_model() -> None:
    result = prices("show", "nope", "--provider", "openai")
    assert result.exit_code == 1
    assert '[prices."openai/nope"]' in result.output


def test_a_bad_date_is_a_usage_error() -> None:
    result = prices("show", "gpt-5.4", "--at", "tomorrow")
    assert result.exit_code == 2
    assert "YYYY-MM-DD" in result.output


def test_list() -> None:
    result = prices("list", "--provider", "groq")
    assert "groq/openai/gpt-oss-120b" in result.stdout.splitlines()
    assert all(line.startswith("groq/") for line in result.stdout.splitlines())
    assert json.loads(prices("list", "--json").stdout)["built"] == PriceBook().catalogue.built


def test_diff(tmp_path: Path) -> None:
    other = tmp_path / "other.json.gz"
    other.write_bytes(newer())
    assert prices("diff", str(EMBEDDED)).stdout == "no difference\n"
    changed = json.loads(prices("diff", str(other), "--json").stdout)
    assert {(row["bucket"], row["before"], row["after"]) for row in changed} == {("input", "0.075", "0.001")}
    assert "0.001" in prices("diff", str(other)).stdout


def test_update_from_a_file_by_hash_only(tmp_path: Path) -> None:
    other = tmp_path / "other.json.gz"
    other.write_bytes(newer())
    refused = prices("update", "--from", str(other), "--sha256", "0" * 64)
    assert refused.exit_code == 2
    assert "nothing was changed" in refused.output
    assert prices("update", "--from", str(tmp_path / "none"), "--sha256", "0").exit_code == 2
    done = prices("update", "--from", str(other), "--sha256", hashlib.sha256(newer()).hexdigest())
    assert done.exit_code == 0, done.output
    assert "2099-01-01" in done.output
    old = json.dumps({**json.loads(gzip.decompress(newer())), "built": "2020-01-01"}).encode()
    other.write_bytes(old)
    back = ("update", "--from", str(other), "--sha256", hashlib.sha256(old).hexdigest())
    refused = prices(*back)
    assert refused.exit_code == 2
    assert "2099-01-01: nothing was changed; --force goes back" in refused.output
    assert prices(*back, "--force").exit_code == 0
    assert json.loads(prices("list", "--json").stdout)["built"] == "2020-01-01"


@pytest.fixture
def address() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = newer()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/catalogue.json.gz"
    server.shutdown()
    thread.join()
    server.server_close()


def test_update_from_an_address(address: str) -> None:
    done = prices("update", "--from", address, "--sha256", hashlib.sha256(newer()).hexdigest())
    assert done.exit_code == 0, done.output
    assert "2099-01-01" in done.output
