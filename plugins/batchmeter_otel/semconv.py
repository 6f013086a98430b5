"""Attribute names. The GenAI conventions have no constants package and no batch part, so the names are kept here.

`gen_ai.*` as in open-telemetry/semantic-conventions-genai (development); `gen_ai.batch.*` in the spelling that other
instrumentations of batches use; what is ours alone under `batchmeter.*`. No schema URL is claimed for any of it.
"""

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
"""Renamed `cache_write` since; receivers that know only this name would count the other twice."""
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
COST: Final = "gen_ai.usage.cost"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - no secret

COST_AMOUNT: Final = "gen_ai.usage.cost.amount"
COST_CURRENCY: Final = "gen_ai.usage.cost.currency"
COST_SOURCE: Final = "gen_ai.usage.cost.source"
"""The three proposed names are sent only on opt-in: Langfuse takes them for token counts."""
OPT_IN: Final = "gen_ai_latest_experimental"
OPT_IN_VARIABLE: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"

BATCH_ID: Final = "gen_ai.batch.id"
BATCH_STATUS: Final = "gen_ai.batch.status"
BATCH_ENDPOINT: Final = "gen_ai.batch.endpoint"
BATCH_WINDOW: Final = "gen_ai.batch.completion_window"
BATCH_INPUT_FILE: Final = "gen_ai.batch.input_file_id"
BATCH_OUTPUT_FILE: Final = "gen_ai.batch.output_file_id"
BATCH_ERROR_FILE: Final = "gen_ai.batch.error_file_id"
BATCH_CREATED_AT: Final = "gen_ai.batch.created_at"
BATCH_ENDED_AT: Final = "gen_ai.batch.completed_at"
BATCH_EXPIRES_AT: Final = "gen_ai.batch.expires_at"
COUNT_TOTAL: Final = "gen_ai.batch.request_counts.total"
COUNT_COMPLETED: Final = "gen_ai.batch.request_counts.completed"
COUNT_FAILED: Final = "gen_ai.batch.request_counts.failed"

ERROR_TYPE: Final = "error.type"
USER_ID: Final = "user.id"
SESSION_ID: Final = "session.id"

EVENT_ID: Final = "batchmeter.event.id"
"""The attribute to dedupe by where span ids are not ours to choose."""
ACCOUNT: Final = "batchmeter.account"
ADOPTED: Final = "batchmeter.adopted"
REVISION: Final = "batchmeter.revision"
TEAM: Final = "batchmeter.team"
KEY: Final = "batchmeter.key"
TAGS: Final = "batchmeter.tags"
METADATA: Final = "batchmeter.metadata."
"""Prefix of the caller's own metadata."""
EXACT_COST: Final = "batchmeter.cost.usd"
"""A decimal string: the same number as COST, to the last digit."""
KNOWN_COST: Final = "batchmeter.cost.known_usd"
UNKNOWN_COST: Final = "batchmeter.cost.unknown"
"""`reason:lines`, such as `unknown_model:12`."""
REPORTED_COST: Final = "batchmeter.cost.reported_usd"
"""The vendor's own amounts on the rows, added up."""
REPORTED_LINES: Final = "batchmeter.cost.reported_lines"
COST_DETAILS: Final = "batchmeter.cost.details"
"""`reason: what to look at`, such as `missing_rate: gpt-5: web_search`."""
COST_FLAGS: Final = "batchmeter.cost.flags"
ESTIMATED: Final = "batchmeter.cost.estimated"
PRICED_AT: Final = "batchmeter.cost.priced_at"
RATES: Final = "batchmeter.cost.rates"
"""JSON: what every group of lines was priced at, as `rates` of the event."""
PRICE_BOOK: Final = "batchmeter.cost.price_book"
NOTES: Final = "batchmeter.notes"
MODELS: Final = "batchmeter.models"
"""JSON: model -> lines, usage and cost."""
USAGE: Final = "batchmeter.usage"
"""JSON: tokens and other units, also those that the conventions have no name for."""
REPORTED_USAGE: Final = "batchmeter.reported_usage"
"""JSON: the provider's own sums of the batch."""
REGION: Final = "batchmeter.region"
MISSING: Final = "batchmeter.request_counts.missing"
DUPLICATES: Final = "batchmeter.request_counts.duplicates"
MALFORMED: Final = "batchmeter.request_counts.malformed"
UNPRICED: Final = "batchmeter.request_counts.unpriced"
OUTCOME: Final = "batchmeter.request.outcome"
LOGGER: Final = "batchmeter.logger"

PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
}
"""Account providers whose OpenTelemetry name differs from ours."""

SUBMIT: Final = "create_batch"
BATCH: Final = "batch"
"""Operations; the conventions define none for batches."""
