"""Sessions of the pages: a cookie in place of a key, honoured here only, and ended with its key."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from batchmeter_proxy import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from batchmeter.host import PluginHost, Tables, TableSession

COOKIE = "batchmeter_ui"
HOURS = 12
TRIES = 10
"""Log-ins a minute from one address."""
_TRIED_SECONDS = 60.0
_MOST_ADDRESSES = 10_000
_LONGEST_COOKIE = 128

LINK_SECONDS = 60

MIGRATIONS = (
    """CREATE TABLE batchmeter.ui_session (
    id_sha256 text NOT NULL PRIMARY KEY,
    secret_sha256 text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE batchmeter.ui_action (
    id text NOT NULL PRIMARY KEY,
    at bigint NOT NULL,
    key_id text NOT NULL,
    what text NOT NULL,
    object text NOT NULL
);
""",
    """CREATE TABLE batchmeter.ui_link (
    id_sha256 text NOT NULL PRIMARY KEY,
    secret_sha256 text NOT NULL,
    expires_at bigint NOT NULL
);
""",
)
STATEMENTS = """
-- name: add
INSERT INTO batchmeter.ui_session (id_sha256, secret_sha256, created_at, expires_at)
VALUES (%(id)s, %(secret)s, %(now)s, %(now)s + %(life)s);
-- name: find
SELECT secret_sha256 FROM batchmeter.ui_session WHERE id_sha256 = %(id)s AND expires_at > %(now)s;
-- name: end
DELETE FROM batchmeter.ui_session WHERE id_sha256 = %(id)s;
-- name: forget
DELETE FROM batchmeter.ui_session WHERE expires_at <= %(now)s;
-- name: add_link
INSERT INTO batchmeter.ui_link (id_sha256, secret_sha256, expires_at) VALUES (%(id)s, %(secret)s, %(now)s + %(life)s);
-- name: find_link
SELECT secret_sha256 FROM batchmeter.ui_link WHERE id_sha256 = %(id)s AND expires_at > %(now)s;
-- name: use_link
DELETE FROM batchmeter.ui_link WHERE id_sha256 = %(id)s;
-- name: forget_links
DELETE FROM batchmeter.ui_link WHERE expires_at <= %(now)s;
-- name: act
INSERT INTO batchmeter.ui_action (id, at, key_id, what, object) VALUES (%(id)s, %(now)s, %(key)s, %(what)s, %(object)s);
-- name: actions
SELECT at, key_id, what, object FROM batchmeter.ui_action ORDER BY at DESC, id LIMIT %(limit)s;
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Sessions:
    """In the ledger's database, so that any worker knows them; of a cookie and a key only the hashes."""

    def __init__(self, store: "Tables") -> None:
        self._store = store

    @classmethod
    async def open(cls, host: "PluginHost") -> "Sessions":
        return cls(await host.store("ui", MIGRATIONS, STATEMENTS))

    async def begin(self, secret: str) -> str:
        """The cookie's value for who has this key."""
        return await self._begin(sha256(secret))

    async def _begin(self, secret_sha256: str) -> str:
        value = secrets.token_urlsafe(32)
        await self._store.run("forget")
        await self._store.run("add", id=sha256(value), secret=secret_sha256, life=HOURS * 3_600_000)
        return value

    async def make_link(self, secret: str) -> str:
        """A word that lets its first bearer in as who has this key, for a minute."""
        value = secrets.token_urlsafe(32)
        await self._store.run("forget_links")
        await self._store.run("add_link", id=sha256(value), secret=sha256(secret), life=LINK_SECONDS * 1000)
        return value

    async def enter(self, word: str) -> str | None:
        """The cookie's value for the first who brings it; None for all others."""

        async def use(session: "TableSession") -> str | None:
            row = await session.row("find_link", id=sha256(word))
            used = await session.run("use_link", id=sha256(word))
            return str(row["secret_sha256"]) if row and used else None

        secret = await self._store.write(use)
        return None if secret is None else await self._begin(secret)

    async def find(self, digest: str) -> str | None:
        """The SHA-256 of the key behind a cookie's."""
        rows = await self._store.rows("find", id=digest)
        return str(rows[0]["secret_sha256"]) if rows else None

    async def end(self, digest: str) -> None:
        await self._store.run("end", id=digest)

    async def note(self, key: str, what: str, on: str) -> None:
        """Write down what somebody did here."""
        await self._store.run("act", id=secrets.token_hex(16), key=key, what=what, object=on)

    async def notes(self, limit: int) -> list[Mapping[str, object]]:
        """Newest first: `at`, `key_id`, `what`, `object`."""
        names = ("at", "key_id", "what", "object")
        return [{name: row[name] for name in names} for row in await self._store.rows("actions", limit=limit)]


class Tries:
    """Log-ins by address, in this process."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Refusal (429) after ten within a minute."""
        now = time.monotonic()
        recent = [at for at in self._tries.pop(address, []) if now - at < _TRIED_SECONDS]
        self._tries[address] = [*recent, now][-TRIES:]
        if len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)
        if len(recent) >= TRIES:
            raise Refusal(429, "Too many log-ins: wait a minute.", code="too_many_tries", headers={"retry-after": "60"})


def digest_of(request: "Request") -> str | None:
    """The hash of a request's cookie."""
    for header in request.headers.getlist("cookie"):
        try:
            found = SimpleCookie(header).get(COOKIE)
        except CookieError:
            continue
        if found is not None and 0 < len(found.value) <= _LONGEST_COOKIE:
            return sha256(found.value)
    return None


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a form of these pages was sent, as far as the browser says."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(headers.get("origin", "")).netloc
    return bool(origin) and origin == headers.get("host")
