"""The plugin: each event through the langfuse SDK, acknowledged by Langfuse's own intake."""

import threading
from contextvars import Context
from importlib.metadata import version
from typing import TYPE_CHECKING

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl
from batchmeter_otel.installed import require

from .settings import LangfuseSettings, enabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter_traces import BatchLines

    from .sender import Sender


class LangfuseLogger:
    """Delivered means: Langfuse has stored it durably; it is to be seen some seconds later.

    The SDK is imported with the first event: it takes half a second. Its hooks are plain functions, each called in a
    thread of its own, so that a Langfuse that hangs holds no thread which anyone else waits for.
    """

    Settings = LangfuseSettings

    def __init__(self, settings: LangfuseSettings | None = None) -> None:
        require("langfuse", "opentelemetry.exporter.otlp.proto.http")
        _refuse_older(version("langfuse"))
        self.settings = settings or LangfuseSettings()
        self.line_sample = self.settings.lines
        self.unsubscribed = ("batch_lines",) if self.line_sample is None else ()
        self._lock = threading.Lock()
        self._opened: Sender | None = None

    @hookimpl
    def acreate_batch(self, event: BatchCreated) -> None:
        self._deliver(lambda sender: sender.deliver(event))

    @hookimpl
    def batch_success(self, event: BatchSucceeded) -> None:
        self._deliver(lambda sender: sender.deliver(event))

    @hookimpl
    def batch_failure(self, event: BatchFailed) -> None:
        self._deliver(lambda sender: sender.deliver(event))

    @hookimpl(optionalhook=True)
    def batch_lines(self, event: BatchSucceeded | BatchFailed, lines: "BatchLines") -> None:
        self._deliver(lambda sender: sender.deliver_lines(event, lines))

    @hookimpl
    def shutdown(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _deliver(self, send: "Callable[[Sender], None]") -> None:
        """In a context of its own: no span or attribute of the application is current here."""
        if enabled():
            Context().run(send, self._sender())

    def _sender(self) -> "Sender":
        from .sender import Sender  # noqa: PLC0415 - imports langfuse and OpenTelemetry

        with self._lock:
            if self._opened is None:
                self._opened = Sender(self.settings)
            return self._opened


def _refuse_older(found: str) -> None:
    """Its metadata would be read otherwise, and its client cannot be kept apart."""
    if int(found.partition(".")[0]) < 5:  # noqa: PLR2004 - the major release whose wire format this is
        raise ImportError(f"langfuse {found} is installed and 5 is needed: pip install 'batchmeter[langfuse]'")
