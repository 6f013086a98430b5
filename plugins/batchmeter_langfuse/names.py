"""The attributes by which Langfuse's server knows what an OTLP span means.

Its SDK has them too, but takes half a second to import, and sets up what we would have to undo. A test holds the names
to the SDK's own.
"""

from typing import Final

SCOPE: Final = "langfuse-sdk"
"""The instrumentation scope whose spans are Langfuse observations."""
SDK_VERSION: Final = "5.0.4"
"""Whose wire format this is; the server reads metadata by it."""

TRACE_NAME: Final = "langfuse.trace.name"
TRACE_USER_ID: Final = "user.id"
TRACE_SESSION_ID: Final = "session.id"
TRACE_TAGS: Final = "langfuse.trace.tags"
TRACE_METADATA: Final = "langfuse.trace.metadata"

OBSERVATION_TYPE: Final = "langfuse.observation.type"
OBSERVATION_METADATA: Final = "langfuse.observation.metadata"
OBSERVATION_LEVEL: Final = "langfuse.observation.level"
OBSERVATION_STATUS_MESSAGE: Final = "langfuse.observation.status_message"
OBSERVATION_INPUT: Final = "langfuse.observation.input"
OBSERVATION_OUTPUT: Final = "langfuse.observation.output"
OBSERVATION_MODEL: Final = "langfuse.observation.model.name"
OBSERVATION_MODEL_PARAMETERS: Final = "langfuse.observation.model.parameters"
OBSERVATION_USAGE_DETAILS: Final = "langfuse.observation.usage_details"
OBSERVATION_COST_DETAILS: Final = "langfuse.observation.cost_details"

ENVIRONMENT: Final = "langfuse.environment"
RELEASE: Final = "langfuse.release"
