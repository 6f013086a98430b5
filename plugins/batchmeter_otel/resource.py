"""The resource: this program, in OpenTelemetry's terms."""

from opentelemetry.sdk.resources import SERVICE_NAME, Resource


def resource() -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; the service is `batchmeter` where they name none."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "batchmeter"}))
    return found
