"""Names of models: the same model as the ledger and as a bill write it, so that both sides meet."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_PREFIX = re.compile(r"^(?:[a-z_]+/|models/|publishers/[^/]+/models/)+")
_DAY_OF_YEAR = re.compile(r"-(?:0[1-9]|1[0-2])[0-3]\d$")
"""`-1120`: Azure's meters name a snapshot by its month and day."""
_VERSION = re.compile(r"(?:-v\d+)?:\d+$|@[\w.-]+$")
_SPACES = re.compile(r"[\s_]+")
_NOT_WORD = re.compile(r"[^a-z0-9]")

BaseModel = Callable[[str], str]


def plain_name(model: str) -> str:
    """`gpt 4.1 Nano` -> `gpt-4.1-nano`, without a vendor's prefix, version or short date."""
    text = _SPACES.sub("-", model.strip().lower())
    return _DAY_OF_YEAR.sub("", _VERSION.sub("", _PREFIX.sub("", text)))


@dataclass(slots=True)
class Names:
    """A common name for each model of both sides."""

    groups: set[str] = field(default_factory=set[str])
    _ours: dict[str, str] = field(default_factory=dict[str, str])
    _vendor: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, ours: Iterable[str], vendor: Iterable[str], base: BaseModel) -> "Names":
        """Names that both have are kept; the others meet under their names without snapshot, if these are the same.

        A bill's name (`Llama4-Maverick-17B`) may lack a maker, a date or `instruct`.
        """
        mine, theirs = set(ours), set(vendor)
        both = mine & theirs
        bases = {name: base(plain_name(name)) for name in mine | theirs}
        alone = {bases[name] for name in (mine | theirs) - both}
        common = {name: bases[name] if bases[name] in alone else name for name in mine | theirs}
        known = {common[name] for name in mine}
        shorter = {name: _same(common[name], known) for name in theirs if common[name] not in known}
        found = cls()
        found._ours = {name: common[name] for name in mine}
        found._vendor = {name: shorter.get(name) or common[name] for name in theirs}
        found.groups = {*found._ours.values(), *found._vendor.values()}
        return found

    def of_ours(self, model: str) -> str:
        return self._ours.get(model, model)

    def of_vendor(self, model: str) -> str:
        return self._vendor.get(model, model)


_MAKER = re.compile(
    r"^(?:(?:us|eu|apac|au|jp|ca|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|nvidia|openai|qwen|twelvelabs|writer|zai)\."
)
_DECORATION = re.compile(r"-(?:20\d{6}|instruct|maas|latest|preview)$")


def _core(name: str) -> str:
    """`us.meta.llama4-maverick-17b-instruct` and `Llama4-Maverick-17B` -> `llama4maverick17b`."""
    text = _MAKER.sub("", name.lower())
    while (shorter := _DECORATION.sub("", text)) != text:
        text = shorter
    return _NOT_WORD.sub("", text)


def _same(name: str, known: Iterable[str]) -> str | None:
    """The one name of ours that differs in decoration alone."""
    found = [one for one in known if _core(one) == _core(name)]
    return found[0] if len(found) == 1 else None
