"""Sizes of the pages: what a browser loads stays small enough for a slow line, whatever is in the ledger."""

import gzip
import hashlib
from importlib.resources import files

from batchmeter_ui.assets import TYPES, compressed, content

ASSETS = 25_000
VENDORED = {
    "htmx.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}
"""htmx.org 4.0.1 from npm, dist/htmx.min.js and dist/ext/hx-sse.min.js."""


def test_assets_are_small():
    assert sum(len(compressed(name)) for name in TYPES) <= ASSETS
    assert all(gzip.decompress(compressed(name)) == content(name) for name in TYPES)


def test_vendored_files_are_their_makers():
    folder = files("batchmeter_ui") / "static"
    for name, digest in VENDORED.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert "Zero-Clause BSD" in (folder / "LICENSE.htmx").read_text()


async def test_assets_are_sent_compressed_and_kept(http, people, log_in):
    page = (await http.get("/ui/login")).text
    place = page.partition('href="/ui/static/')[2].partition('"')[0]
    asked = await http.get(f"/ui/static/{place}", headers={"accept-encoding": "gzip"})
    plain = await http.get(f"/ui/static/{place}", headers={"accept-encoding": "identity"})
    assert asked.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert asked.content == plain.content
    assert "immutable" in asked.headers["cache-control"]
    assert asked.headers["vary"] == "accept-encoding"
