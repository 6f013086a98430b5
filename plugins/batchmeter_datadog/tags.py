"""Tags of metrics: few names, and a bound on the values of each. Never a batch, a file or a user."""

import unicodedata

from batchmeter.events import AlertEvent, Event

from .settings import DatadogSettings

OTHER = "other"
_MARKS = frozenset("_-:./")
_LONGEST = 200

Names = tuple[str, ...]
"""`name:value`, sorted."""


_ASCII = {code: "_" for code in range(128) if not chr(code).isalnum() and chr(code) not in _MARKS}


def clean(text: str) -> str:
    """As Datadog itself would store it: letters of every script, marks and digits stay."""
    if text.isascii():  # a large batch's counts have thousands of tags
        return text.lower().translate(_ASCII)[:_LONGEST]
    lower = unicodedata.normalize("NFC", text.lower())
    fit = (one if one in _MARKS or unicodedata.category(one)[0] in "LMN" else "_" for one in lower)
    return "".join(fit)[:_LONGEST]


class Tags:
    """Makes them, and remembers the values it has let through."""

    def __init__(self, settings: DatadogSettings) -> None:
        named = {"env": settings.env, "service": settings.service, "version": settings.version}
        self.shared: Names = (*(f"{name}:{clean(value)}" for name, value in named.items() if value), *settings.tags)
        self._metadata = settings.metadata_tags
        self._limit = settings.max_tag_values
        self._values: dict[str, set[str]] = {}

    def of(self, event: Event, **more: str) -> Names:
        """The event's, and `more` that a single metric adds."""
        values = {
            "provider": event.provider,
            "account": event.account,
            "endpoint": event.endpoint,
            "team": event.attribution.team,
            **{name: event.metadata.get(name) for name in self._metadata},
            **more,
        }
        own = (f"{clean(name)}:{self._bounded(name, value)}" for name, value in values.items() if value)
        return tuple(sorted({*self.shared, *own}))

    def of_alert(self, event: AlertEvent) -> Names:
        """Its kind, and what it is about."""
        about = {name: getattr(event, name, None) for name in ("kind", "budget", "account", "provider")}
        values = {**about, "team": event.attribution.team}
        own = (f"{clean(name)}:{self._bounded(name, value)}" for name, value in values.items() if value)
        return tuple(sorted({*self.shared, *own}))

    def _bounded(self, name: str, value: str) -> str:
        values, chosen = self._values.setdefault(name, set()), clean(value)
        if chosen not in values:
            if len(values) >= self._limit:
                return OTHER
            values.add(chosen)
        return chosen
