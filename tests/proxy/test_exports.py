"""Exports over HTTP: streamed, for administrators of all accounts only."""

import csv
import io
import json
from decimal import Decimal

import httpx2
import pytest

from batchmeter_proxy import Identity, create_app

CHAT = "/v1/chat/completions"


@pytest.fixture
async def exporting(client):
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
        yield opened


@pytest.fixture
async def settlement(client, clock, lines):
    file = await client.files.create(("a.jsonl", lines(3)), custom_llm_provider="openai")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    clock.advance(60)
    await client.batches.retrieve(batch.id)
    clock.advance(1400)
    return await client.batches.wait(batch.id, timeout=10)


async def test_costs_are_streamed_as_csv_and_json_lines(exporting, settlement):
    month = f"{settlement.settled_at:%Y-%m}"
    answer = await exporting.get("/v1/export/costs", params={"month": month})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="costs_{month}.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert Decimal(row["total_usd"]) == settlement.cost.total
    lines = await exporting.get("/v1/export/costs", params={"format": "jsonl", "grain": "model", "month": month})
    assert Decimal(json.loads(lines.text)["known_usd"]) == settlement.cost.total
    assert not (await exporting.get("/v1/export/costs", params={"format": "jsonl", "month": "2001-01"})).text


@pytest.mark.parametrize(
    ("query", "message", "param"),
    [
        ({"format": "xls"}, "expected one of csv, jsonl", "format"),
        ({"grain": "line"}, "expected one of batch, model, group", "grain"),
        ({"month": "now"}, "'now' is not a month", "month"),
        ({"from": "then"}, "'then' is not a date", "from"),
    ],
)
async def test_a_wrong_query_says_what_is_wrong(exporting, query, message, param):
    answer = await exporting.get("/v1/export/costs", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("identity", "code"),
    [(Identity(), "admin_only"), (Identity(admin=True, accounts=frozenset({"openai"})), "account_not_allowed")],
)
async def test_only_an_admin_of_all_accounts_exports(client, identity, code):

    async def known(request):
        return identity

    transport = httpx2.ASGITransport(create_app(client, authenticate=known))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        answer = await http.get("/v1/export/costs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)


async def test_routes_are_described(exporting):
    described = (await exporting.get("/openapi.json")).json()["paths"]["/v1/export/costs"]["get"]
    assert {"format", "grain", "month", "from", "to"} <= {one["name"] for one in described["parameters"]}


async def test_a_focus_bill_is_streamed(exporting, settlement):
    month = f"{settlement.settled_at:%Y-%m}"
    answer = await exporting.get("/v1/export/focus", params={"month": month, "grain": "batch"})
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == settlement.cost.total
    assert {row["ResourceId"] for row in rows} == {settlement.batch_id}
