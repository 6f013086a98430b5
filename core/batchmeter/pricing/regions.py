"""Which region class decides a price: the job's region and a line's own geo, in the words each vendor prices by."""

from dataclasses import dataclass

GLOBAL_WORDS = frozenset({"global", "not_available", "default", ""})


@dataclass(frozen=True, slots=True)
class Region:
    """The class to look for, and whether anybody said so."""

    name: str | None
    """None: the global price."""
    known: bool


def region_class(provider: str, region: str | None, geo: str | None) -> Region:
    """`eu` at OpenAI is residency, `europe-west4` at Vertex AI a regional endpoint, `us` at Anthropic its inference geo."""
    word = (region or "").strip().lower()
    if provider == "anthropic":
        place = (geo or word or "").strip().lower()
        return Region("us" if place == "us" else None, known=True)
    if not word:
        return Region(None, known=False)
    if word in GLOBAL_WORDS:
        return Region(None, known=True)
    if provider == "azure":  # a location does not tell a Global from a Data Zone deployment
        return Region(word, known=True) if word.startswith("data-zone-") else Region(None, known=False)
    return Region(_CLASSES.get(provider, word), known=True)


_CLASSES = {"openai": "resident", "vertex_ai": "regional"}
"""Where every place that is not global costs the same; elsewhere the place itself is the class."""
