"""Every hook a plugin can implement: the whole plugin contract.

A plugin is a module, class or instance under the entry-point group `batchmeter` with methods marked `@hookimpl`.
A method may name fewer arguments than its hook, and may be `def` (it runs in a thread) or `async def`.
Events are delivered at least once: `event.id` never changes, so dedupe by it where twice would hurt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

if TYPE_CHECKING:
    import click

    from .events import BatchCreated, BatchFailed, BatchSucceeded, Event, PluginEvent
    from .host import Estimate, EstimateQuery, PlannedBatch, PluginHost, UploadInfo, UploadReader
    from .ledger.session import Engine
    from .pricing.groups import PriceQuery, Rates
    from .providers import ProviderFactory

PROJECT = "batchmeter"

Function = TypeVar("Function", bound=Callable[..., object])

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks a function as a hook of a plugin's own: those of the module that the plugin's package names `hookspecs`."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A hook that is owed events of these kinds apart from its plugin's other hooks, by a subscription `<plugin>.<hook>`.

    `opened_by(plugin, event)`, a hook too, gives an async context manager with the further arguments of the call. A plugin
    whose attribute `unsubscribed` names the hook does not want it now.
    """

    kinds: tuple[str, ...]
    opened_by: str
    seconds: float
    """For one call; another process takes over after twice that."""

    def __call__(self, function: Function) -> Function:
        """As a decorator under `@hookspec`."""
        vars(function)["companion"] = self
        return function


def companions_in(specs: ModuleType) -> dict[str, Companion]:
    """By the names of the hooks."""
    marked = {name: getattr(spec, "companion", None) for name, spec in vars(specs).items()}
    return {name: companion for name, companion in marked.items() if isinstance(companion, Companion)}


hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook it is named after."""


@hookspec
def acreate_batch(event: "BatchCreated", host: "PluginHost") -> None:
    """A batch was submitted (or adopted): once per batch.

    Returning means accepted. `raise RetryLater(after=seconds)` or any other exception means again, with back-off;
    `raise Rejected(reason)` means never: the event is kept as dead and can be replayed. `raise NotDue(why, after=seconds)`
    is no failure: it is too early for this event alone. No other logger is affected.
    """


@hookspec
def batch_success(event: "BatchSucceeded", host: "PluginHost") -> None:
    """A batch completed, and its usage and cost are known: once per batch and revision.

    It comes after this logger has accepted the batch's `acreate_batch`, or given it up. Failures: as `acreate_batch`.
    """


@hookspec
def batch_failure(event: "BatchFailed", host: "PluginHost") -> None:
    """A batch failed, expired or was cancelled; what finished before is metered: once per batch and revision.

    Order and failures: as `batch_success`.
    """


@hookspec
def redact(event: "Event") -> "Event | None":
    """Called with each event before any logger gets it; return the event to log in its place, None to leave it.

    Implementations run in turn, each on the last one's result. One that raises holds the delivery back (it is tried
    again): nothing leaves unredacted.
    """


@hookspec
def read_upload(upload: "UploadInfo") -> "UploadReader | None":
    """Called before a file is uploaded, by the SDK or through the proxy: return a reader of its bytes, or None.

    The reader may refuse the file, and leave a short text that is kept with it: the first text of several. Sync only; called
    again where an upload is tried again. A failure of the hook or of its reader is logged, and the file goes on without.
    """


@hookspec
def estimate_batch(query: "EstimateQuery") -> "Estimate | None":
    """Called before `before_submit`, and by `host.estimate`: the cost of a batch of a file, from the text that
    `read_upload` left. The first answer counts; None, a failure or no answer within 10 seconds means no opinion.
    """


@hookspec
def before_submit(submission: "PlannedBatch", estimate: "Estimate | None") -> None:
    """Called before each new batch is sent to its provider; raise to refuse it.

    A `BatchmeterError` reaches the caller as it is, anything else as SubmissionRefusedError; the provider hears nothing.
    So does no answer within 10 seconds: a guard that fails lets nothing through. `estimate` is None where the input file
    was not uploaded through batchmeter while such a plugin was on. A batch that an observed client made comes here after
    it was made: `submission.batch_id` is its id, and a refusal is only logged.
    """


@hookspec
def submit_dropped(submission: "PlannedBatch", reason: str) -> None:
    """A submission that `before_submit` let through made no batch, for certain: what was reserved for it is free.

    It is called once, by the process that submitted. After a crash, `host.submissions` tells the same. A failure is logged.
    """


@hookspec
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    """Called once when a client is made: call `register(cls)` for each provider class this plugin brings.

    A failure disables this plugin only, and is shown by `batchmeter plugins`. A package that declares
    `providers = ("mine",)` is asked only once one of these is used.
    """


@hookspec
def register_commands(cli: "click.Group") -> None:
    """Called when `batchmeter` is asked for a command that is not core's, or for its help: `cli.add_command(command)`.

    Every `--help` calls this: give a `batchmeter.commands.LazyCommand`, whose module is imported when it is used, or
    import what a command needs inside the command. `ctx.find_root().obj` holds the global options
    `config` and `ledger`, which `AsyncClient(**obj)` takes. Implement it as a function of the package that the entry
    point names: it is called before settings are read, and so that no logger need be made for it.
    """


@hookspec
def register_events(register: "Callable[[type[PluginEvent]], None]") -> None:
    """Called before any event is read: `register(BudgetAlert)` makes a new kind of event, which `host.record` records.

    The model is a `batchmeter.events.PluginEvent`. The hook that loggers implement has the kind's name, and is declared in
    the package's `hookspecs`. Implement it as `register_commands`.
    """


@hookspec
def register_ledgers(register: "Callable[[str, Engine], None]") -> None:
    """Called once: call `register(scheme, engine)` for each URL scheme of ledgers that this plugin opens.

    The engine makes a `batchmeter.ledger.session.Database` from the URL, and imports its driver then, not with the plugin's
    module; scheme `sqlite` gets a path, too. A failure disables this plugin only; a scheme that is registered already is
    refused. Implement it as a function of the package: commands that need the ledger alone make no plugin.
    """


@hookspec(firstresult=True)
def price_lines(query: "PriceQuery") -> "Rates | None":
    """A custom price source, asked once per group of lines before the price book; None means no opinion.

    Sync only: it runs inside the meter. One that raises, or gives anything but Rates, leaves its group unpriced, with
    reason `price_plugin_failed`.
    """


@hookspec
def startup(host: "PluginHost", client: Any) -> None:
    """Called once when a client opens, before any event is delivered; `host` is all that a plugin may ask for.

    A failure, or no end within 30 seconds, disables this plugin only. `client` is what older plugins took.
    """


@hookspec
def shutdown() -> None:
    """Called once when a client closes, after its last delivery. A failure is logged.

    It has what deliveries left of the 5 seconds that closing takes, and at least one.
    """
