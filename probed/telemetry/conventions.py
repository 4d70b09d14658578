"""Names of attributes: OpenTelemetry semantic conventions 1.44.0, and those of probed.

`user_agent.synthetic.type` has the status Development there; the rest is stable. `Result.facts`
already has such names.
"""

from __future__ import annotations

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"
DEPLOYMENT_ENVIRONMENT_NAME = "deployment.environment.name"
LOCATION = "probed.location"

ERROR_TYPE = "error.type"
DB_OPERATION_NAME = "db.operation.name"
DB_NAMESPACE = "db.namespace"
DB_COLLECTION_NAME = "db.collection.name"
SYNTHETIC_TYPE = "user_agent.synthetic.type"
SYNTHETIC_TEST = "test"

CHECK = "probed.check"
PROBE = "probed.probe"
TARGET = "probed.target"
OUTCOME = "probed.outcome"
REASON = "probed.reason"
ATTEMPT = "probed.attempt"
SEVERITY = "probed.severity"
PHASE = "probed.phase"
SKIPPED = "probed.phase.skipped"
LABEL = "probed.label."
FINDING_REASONS = "probed.finding.reasons"
FINDING_MESSAGES = "probed.finding.messages"
