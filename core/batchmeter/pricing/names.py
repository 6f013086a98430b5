"""The ids under which the catalogue may know a model: exact first, then what the vendor itself adds to a name.

Never fuzzy, never by prefix: `my-luna` is not Luna, and a fine-tuned model is never its base.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FINE_TUNED = re.compile(r"^(ft:[^:]+):.+$")
_SNAPSHOTS = {
    "openai": re.compile(r"-\d{4}-\d{2}-\d{2}$"),
    "azure": re.compile(r"-\d{4}-\d{2}-\d{2}$"),
    "anthropic": re.compile(r"-20\d{6}$"),
    "gemini": re.compile(r"-\d{3}$"),
    "vertex_ai": re.compile(r"(?:@20\d{6}|@default|@latest|@\d{3}|-\d{3})$"),
}
"""How a vendor dates or numbers a snapshot; the others' ids are taken as they are."""
_DATED = re.compile(r"^(.+)-(20\d{6})$")
"""As Claude names itself in its answers; Vertex AI's catalogue has `@` for the last hyphen."""
_RESOURCE = re.compile(
    r"^(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/(?P<publisher>[^/]+)/)?models/(?P<id>[^/]+)$"
)
_UNNAMED = frozenset({None, "google", "anthropic"})
"""Publishers whose models go by the id alone; others' are `publisher/id` in the catalogue."""
_ARN = re.compile(r"^arn:aws[\w-]*:bedrock:[^:]*:[^:]*:(?:inference-profile|foundation-model)/(?P<id>.+)$")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?$")


@dataclass(frozen=True, slots=True)
class Name:
    """One id to look up."""

    id: str
    family: bool = False
    """Only where the catalogue declares this alias to speak for its snapshots."""


def names(provider: str, model: str) -> Iterator[Name]:
    """Ids to try, best first."""
    bare = _bare(provider, model)
    yield Name(model)
    if bare != model:
        yield Name(bare)
    fine_tuned = _FINE_TUNED.match(bare)
    if fine_tuned:
        yield Name(fine_tuned[1])
        return
    if bare.startswith("ft:"):
        return
    yield from _spellings(provider, bare)
    family = without_snapshot(provider, bare)
    if family != bare:
        yield Name(family, family=True)


def base_model(provider: str, model: str) -> str:
    """The name without organisation, suffix or snapshot, as a user's `provider/base-model` row gives it."""
    bare = _bare(provider, model)
    fine_tuned = _FINE_TUNED.match(bare)
    if fine_tuned or bare.startswith("ft:"):
        return fine_tuned[1] if fine_tuned else bare
    return without_snapshot(provider, bare)


def without_snapshot(provider: str, model: str) -> str:
    """The id without its date or number."""
    pattern = _SNAPSHOTS.get(provider)
    return pattern.sub("", model) if pattern else model


def _bare(provider: str, model: str) -> str:
    """The id inside a resource name or ARN."""
    if provider in {"vertex_ai", "gemini"}:
        match = _RESOURCE.match(model)
        if match is None:
            return model.removeprefix("google/")
        return match["id"] if match["publisher"] in _UNNAMED else f"{match['publisher']}/{match['id']}"
    if provider == "bedrock":
        match = _ARN.match(model)
        return match["id"] if match else model
    return model


def _spellings(provider: str, bare: str) -> Iterator[Name]:
    """One model, several spellings at one vendor."""
    if provider == "vertex_ai" and "@" not in bare:
        dated = _DATED.match(bare)
        if dated:
            yield Name(f"{dated[1]}@{dated[2]}")
        yield Name(f"{bare}@default")
    if provider == "vertex_ai" and bare.endswith(("@default", "@latest")):
        yield Name(bare.rpartition("@")[0])
    if provider == "bedrock":
        unprefixed = bare.removeprefix("global.")
        for spelling in (unprefixed, _BEDROCK_VERSION.sub("", bare), _BEDROCK_VERSION.sub("", unprefixed)):
            if spelling != bare:
                yield Name(spelling)
        if not _BEDROCK_VERSION.search(unprefixed):
            for version in ("-v1:0", "-v1"):
                yield Name(f"{bare}{version}")
                yield Name(f"{unprefixed}{version}")
