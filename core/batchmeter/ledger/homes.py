"""Which account an id belongs to, remembered: it is asked before every call, and an id does not move."""

from collections import OrderedDict

MOST = 10_000
"""About 2 MB; the ids used least recently go."""


class Homes:
    """Of the ids this process wrote or asked for last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, str] = OrderedDict()

    def of(self, object_id: str) -> str | None:
        account = self._known.get(object_id)
        if account is not None:
            self._known.move_to_end(object_id)
        return account

    def learn(self, object_id: str, account: str) -> None:
        self._known[object_id] = account
        self._known.move_to_end(object_id)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, object_id: str) -> None:
        self._known.pop(object_id, None)
