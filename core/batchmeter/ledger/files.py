"""Files: the account and the person that an object id belongs to."""

from collections import OrderedDict
from collections.abc import Collection

from batchmeter.models import Attribution, Batch, FileObject

from . import serialize
from .records import Millis, Owner, Submission
from .session import Row, Session

FRESH: Millis = 3_600_000
"""A batch that reads a file again so soon leaves its time of use as it is."""
CACHED_IDS = 10_000
"""About 2 MB; the ids used least recently go."""


async def record_file(
    session: Session,
    account: str,
    file: FileObject,
    attribution: Attribution | None,
    lines: int | None,
    sha256: str | None = None,
    estimate: str | None = None,
) -> None:
    await session.run(
        "put_file",
        account=account,
        file_id=file.id,
        snapshot=serialize.dump(file),
        attribution=None if attribution is None else serialize.dump(attribution),
        lines=lines,
        sha256=sha256,
        estimate=estimate,
    )


async def file_sha256(session: Session, account: str, file_id: str) -> str | None:
    """Of its bytes, where it was uploaded through us."""
    row = await session.row("file_sha256", account=account, file_id=file_id)
    return None if row is None else row["sha256"]


async def file_estimate(session: Session, account: str, file_id: str) -> str | None:
    """`InputSizes` as JSON, where they were counted as the file was uploaded."""
    row = await session.row("file_estimate", account=account, file_id=file_id)
    return None if row is None else row["estimate"]


def output_ids(batch: Batch) -> list[str]:
    return sorted({file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id})


def output_columns(account: str, batch: Batch, submission: Submission) -> list[dict[str, object]]:
    """Record the owner of a batch's output files, which nobody uploaded: the submitter of the batch."""
    unknown = dict.fromkeys(("snapshot", "lines", "sha256", "estimate"))
    attribution = serialize.dump(submission.attribution)
    return [
        {"account": account, "file_id": file_id, "attribution": attribution, **unknown} for file_id in output_ids(batch)
    ]


async def use_input(session: Session, submission: Submission) -> None:
    if submission.input_file_id is not None:
        await session.run("use_file", account=submission.account, file_id=submission.input_file_id, fresh=FRESH)


async def account_of(session: Session, object_id: str) -> str | None:
    row = await session.row("account_of", id=object_id)
    return None if row is None else str(row["account"])


async def owner_of(session: Session, object_id: str, account: str | None = None) -> Owner | None:
    return (await owners_of(session, [object_id], account)).get(object_id)


async def owners_of(session: Session, object_ids: Collection[str], account: str | None = None) -> dict[str, Owner]:
    """Account and attribution of files and batches; a batch's output files belong to whoever submitted it."""
    found = await session.rows("owners_of", ids=list(object_ids), account=account)
    return {row["id"]: _owner(row) for row in found}  # the last one counts: a batch before a file, newest of all


def _owner(row: Row) -> Owner:
    if row["submission"] is None:
        return Owner(row["account"], serialize.load_attribution(row["attribution"]), row["lines"])
    return Owner(row["account"], serialize.load_submission(row["submission"]).attribution)


async def forget_file(session: Session, account: str, file_id: str) -> None:
    await session.run("forget_file", account=account, file_id=file_id)


class AccountCache:
    """Account by id of the ids that this process wrote or asked for last: an id does not move, and each call asks."""

    def __init__(self, size: int = CACHED_IDS) -> None:
        self._size = size
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def get(self, object_id: str) -> str | None:
        account = self._accounts.get(object_id)
        if account is not None:
            self._accounts.move_to_end(object_id)
        return account

    def put(self, object_id: str, account: str) -> None:
        self._accounts[object_id] = account
        self._accounts.move_to_end(object_id)
        while len(self._accounts) > self._size:
            self._accounts.popitem(last=False)

    def forget(self, object_id: str) -> None:
        self._accounts.pop(object_id, None)
