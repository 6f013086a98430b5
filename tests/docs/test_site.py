"""The site has every page, no link leads nowhere, and every configuration that a page shows is accepted."""

import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path

from tests.cases import case

from batchmeter.accounts import Accounts
from batchmeter.plugins import Plugins
from batchmeter.pricebook.book import PriceBook
from batchmeter.runtime.load_settings import load_settings
from batchmeter_proxy.options import ProxyOptions

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OURS = {"openai", "azure", "vertex_ai", "sandbox", "file", "otel", "langfuse", "datadog", "webhook"}
SECTIONS = {"ledger", "accounts", "plugins", "prices", "proxy"}
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```+).*?^\1", re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert {str(page.relative_to(DOCS)) for page in PAGES} == set(re.findall(r'"([\w/-]+\.md)"', nav))


def test_a_page_starts_with_what_it_is_good_for():
    for page in PAGES:
        with case(page.relative_to(DOCS)):
            text = re.sub(r"<!--.*?-->\n*", "", page.read_text(encoding="utf-8"))
            title, _, rest = text.partition("\n\n")
            assert re.fullmatch(r"# .+", title)
            assert len(rest.split("\n\n")[0]) > 30


def test_every_link_leads_somewhere():
    found = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES):
        links = LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
        found += [(page.name, link, dead(page, link)) for link in links]
    assert [(page, link) for page, link, is_dead in found if is_dead] == []
    assert len(found) > 200


def test_the_checker_sees_what_is_dead():
    assert dead(DOCS / "index.md", "nowhere.md")
    assert dead(DOCS / "index.md", "quickstart.md#no-such-heading")
    assert not dead(DOCS / "index.md", "quickstart.md#what-did-this-file-cost")
    assert not dead(DOCS / "index.md", "https://example.com/nowhere")


def test_every_configuration_on_a_page_is_accepted(blocks, tmp_path, monkeypatch):
    monkeypatch.delenv("BATCHMETER_PLUGINS")
    known = [block for page in PAGES for block in blocks(page) if block.language == "toml"]
    settings = [block for block in known if tomllib.loads(block.text).keys() & SECTIONS]
    assert len(settings) > 30
    for block in settings:
        with case(block.where):
            accept(block.text, tmp_path / "shown.toml")


def accept(text, path):
    """As a client that starts with it; a plugin that a page tells to write is not installed here."""
    path.write_text(text, encoding="utf-8")
    settings = load_settings(path, environ={})
    mine = {name: section for name, section in settings.plugins.items() if name in OURS}
    plugins = Plugins.load(settings.model_copy(update={"plugins": mine}), {})
    assert {info.name: info.reason for info in plugins.info() if info.state == "failed"} == {}
    Accounts(settings, plugins).check()
    PriceBook.load(settings.prices)
    ProxyOptions(**settings.proxy)


def dead(page, link):
    if re.match(r"\w+:", link):
        return False
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or (bool(anchor) and anchor not in anchors(target))


@cache
def anchors(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE)}


def slug(heading):
    """As the site makes it."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())
