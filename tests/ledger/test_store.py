"""A plugin's own tables, on either engine."""

import asyncio

import pytest

from batchmeter.errors import LedgerError
from batchmeter.runtime.plugin_store import open_store

MIGRATIONS = (
    """CREATE TABLE batchmeter.acme_sum (name text PRIMARY KEY, amount bigint NOT NULL, share double precision);
CREATE INDEX acme_by_amount ON batchmeter.acme_sum (amount);""",
    "ALTER TABLE batchmeter.acme_sum ADD COLUMN note text;",
)
STATEMENTS = """
-- name: add
INSERT INTO batchmeter.acme_sum AS known (name, amount, share) VALUES (%(name)s, %(amount)s, %(share)s)
ON CONFLICT (name) DO UPDATE SET amount = known.amount + excluded.amount;

-- name: some
SELECT name, amount, share, note FROM batchmeter.acme_sum
WHERE name = ANY(%(names)s::text[])
  AND amount >= %(least)s -- [least]
ORDER BY name;
"""


async def test_a_store_is_migrated_once_and_read_by_name(ledger):
    store, again = await asyncio.gather(
        *(open_store(ledger.database, "acme", MIGRATIONS, STATEMENTS) for _ in range(2)), return_exceptions=True
    )
    stores = [one for one in (store, again) if not isinstance(one, BaseException)]
    assert stores == [store, again], (store, again)

    async def add(session):
        await session.each("add", [{"name": name, "amount": 2, "share": 0.5} for name in ("a", "b", "a")])

    await store.write(add)
    rows = await again.rows("some", names=["a", "b", "c"])
    assert [(row["name"], row["amount"], row["share"], row["note"]) for row in rows] == [
        ("a", 4, 0.5, None),
        ("b", 2, 0.5, None),
    ]
    assert [row["name"] for row in await store.rows("some", names=["a", "b"], least=3)] == ["a"]


async def test_steps_at_once_give_their_rows_or_undo_all(ledger):
    store = await open_store(ledger.database, "acme", MIGRATIONS, STATEMENTS)
    quoted = "a'; DROP TABLE batchmeter.acme_sum; -- %(name)s \\"
    steps = [("add", {"name": quoted, "amount": 2, "share": None}), ("some", {"names": [quoted], "least": 1})]
    nothing, found = await store.at_once(steps)
    assert (list(nothing), [(row["name"], row["amount"]) for row in found]) == ([], [(quoted, 2)])
    with pytest.raises(LedgerError):
        await store.at_once(
            [("add", {"name": "b", "amount": 1, "share": None}), ("add", {"name": "c", "amount": None, "share": 1})]
        )
    assert [row["name"] for row in await store.rows("some", names=["b", quoted])] == [quoted]
    assert len(await store.at_once(steps, durable=False)) == 2


async def test_grouped_writes_share_one_and_fail_alone(ledger):
    store = await open_store(ledger.database, "acme", MIGRATIONS, STATEMENTS)
    groups = []

    async def write(names):
        groups.append(list(names))
        await store.at_once([("add", {"name": name, "amount": name and 1, "share": None}) for name in names])
        return [name.upper() for name in names]

    add = store.grouped(write)
    done = await asyncio.gather(*(add(name) for name in ("a", "b", "c")))
    assert (done, groups) == (["A", "B", "C"], [["a", "b", "c"]])
    groups.clear()
    done = await asyncio.gather(*(add(name) for name in ("d", None, "e")), return_exceptions=True)
    assert [isinstance(one, LedgerError) for one in done] == [False, True, False]
    assert groups == [["d", None, "e"], ["d"], [None], ["e"]]
    rows = await store.rows("some", names=list("abcde"))
    assert [(row["name"], row["amount"]) for row in rows] == [(name, 1) for name in "abcde"]
