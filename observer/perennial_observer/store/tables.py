"""Tables of the database, in SQL that SQLite and PostgreSQL share.

Every table that belongs to a ModelDeployment hangs on ``deployment.id``, which stands for the object's uid: a deleted
and recreated name starts clean. Times are seconds since the epoch, as float64.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "comparison",
    "comparison_arm",
    "comparison_client",
    "comparison_cursor",
    "comparison_unit",
    "deployment",
    "feedback",
    "lease",
    "metadata",
    "monitor_state",
    "outlier_score",
    "prediction",
    "reference",
    "rejected_row",
    "schema_version",
    "service_level",
    "service_level_bucket",
    "shadow_row",
    "webhook_event",
    "window",
]

# Every change of a table needs a revision in migrations/versions/; an observer refuses a database of a later revision
# instead of guessing.
metadata = MetaData()

# SQLite only hands out row ids for a plain INTEGER PRIMARY KEY.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _deployment_id() -> Column[int]:
    return Column("deployment_id", _Id, ForeignKey("deployment.id"), nullable=False)


# What releases before alembic look at: 5 tells them to keep away. Nobody else reads it.
schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

deployment = Table(
    "deployment",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("latest_event", Float),  # never lowered, also not by retention: the watermark stands on it
    Column("predictions", BigInteger, nullable=False, default=0),
    Column("labels", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Column("late", BigInteger, nullable=False, default=0),  # predictions that came behind the watermark
    Column("log_bytes", BigInteger, nullable=False, default=0),  # of what is in its log now; see sizes.py
    Index("deployment_by_name", "namespace", "name"),
)

# The id rises with arrival. (event_time, id) orders a deployment's rows totally, which is what windows are cut by.
prediction = Table(
    "prediction",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("prediction_id", String(128), nullable=False),
    Column("row", Integer, nullable=False),
    Column("revision", String(63), nullable=False),
    Column("event_time", Float, nullable=False),
    Column("arrival", Float, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("client", String(64)),
    Column("flags", Text),
    UniqueConstraint("deployment_id", "prediction_id", "row"),
    Index("prediction_by_event", "deployment_id", "revision", "event_time", "id"),
    Index("prediction_by_arrival", "deployment_id", "arrival"),
    sqlite_autoincrement=True,
)

# How odd the rows of a window are by a monitor of type Outlier. They go with their row.
outlier_score = Table(
    "outlier_score",
    metadata,
    Column("row_id", _Id, ForeignKey("prediction.id", ondelete="CASCADE"), primary_key=True),
    Column("monitor", String(63), primary_key=True),
    Column("score", Float, nullable=False),
)

rejected_row = Table(
    "rejected_row",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("prediction_id", String(128), nullable=False),
    Column("row", Integer, nullable=False),
    Column("revision", String(63), nullable=False),
    Column("arrival", Float, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("inputs", Text, nullable=False),
    UniqueConstraint("deployment_id", "prediction_id", "row"),
    Index("rejected_row_by_arrival", "deployment_id", "arrival"),
)

# A label may overtake its log entry: it is then kept with known = false until the entry comes or it expires. No id is
# given twice, not even that of the newest label after it expired: comparisons follow labels by id.
feedback = Table(
    "feedback",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("prediction_id", String(128), nullable=False),
    Column("row", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("arrival", Float, nullable=False),
    Column("known", Boolean, nullable=False),
    UniqueConstraint("deployment_id", "prediction_id", "row"),
    # Nearly always it is empty, so that each message of the log learns at once that no label waits for it.
    Index(
        "feedback_waiting",
        "deployment_id",
        "arrival",
        sqlite_where=text("known IS 0"),
        postgresql_where=text("known IS false"),
    ),
    Index("feedback_by_arrival", "deployment_id", "arrival"),
    sqlite_autoincrement=True,
)

reference = Table(
    "reference",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("revision", String(63), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("arrival", Float, nullable=False),
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("deployment_id", "revision"),
)

# One row per evaluated window. The unique key is what makes "exactly once" true after a kill at any point.
window = Table(
    "monitor_window",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("monitor", String(63), nullable=False),
    Column("revision", String(63), nullable=False),
    Column("end_event", Float, nullable=False),
    Column("end_id", BigInteger, nullable=False),
    Column("start_event", Float, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("breached", Boolean),
    Column("verdict", Text, nullable=False),
    Column("evaluated_at", Float, nullable=False),
    UniqueConstraint("deployment_id", "monitor", "revision", "end_event", "end_id"),
)

# What is to be told of monitors until it has arrived: notes without a target, then one row for each receiver, whose
# target is a digest of its address.
webhook_event = Table(
    "webhook_event",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("event_id", String(160), nullable=False),
    Column("target", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Index("webhook_event_by_due", "due", "id"),
)

monitor_state = Table(
    "monitor_state",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("monitor", String(63), nullable=False),
    Column("revision", String(63), nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("state", Text, nullable=False),
    UniqueConstraint("deployment_id", "monitor"),
)

# Mirrored answers. They are kept apart from predictions, so that no monitor, window or export ever sees them.
# state: 0 new, 1 counted and waiting for the live answer, 2 done.
shadow_row = Table(
    "shadow_row",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("prediction_id", String(128), nullable=False),
    Column("row", Integer, nullable=False),
    Column("revision", String(63), nullable=False),
    Column("arrival", Float, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("state", Integer, nullable=False, default=0),
    UniqueConstraint("deployment_id", "prediction_id", "row", "revision"),
    Index("shadow_row_by_state", "state", "id"),
    Index("shadow_row_by_arrival", "deployment_id", "arrival"),
)

# How far the log has been counted: the largest ids seen. One row.
comparison_cursor = Table(
    "comparison_cursor",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("prediction", BigInteger, nullable=False),
    Column("feedback", BigInteger, nullable=False),
)

comparison = Table(
    "comparison",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("deployment_id", _Id, ForeignKey("deployment.id"), nullable=False, unique=True),
    Column("attempt", Integer, nullable=False),
    Column("since", Float, nullable=False),
)

comparison_arm = Table(
    "comparison_arm",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("revision", String(63), nullable=False),
    Column("tally", Text, nullable=False),
    UniqueConstraint("deployment_id", "revision"),
)

# Requests of a running comparison that may still be labelled or wait for their labels' time; they go when it has come.
comparison_unit = Table(
    "comparison_unit",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("prediction_id", String(128), nullable=False),
    Column("revision", String(63), nullable=False),
    Column("client", String(64)),
    Column("event_time", Float, nullable=False),
    Column("arrival", Float, nullable=False),
    Column("rewarded", Boolean, nullable=False, default=False),
    UniqueConstraint("deployment_id", "prediction_id"),
    Index("comparison_unit_by_event", "deployment_id", "event_time"),
)

# Clients seen in a running comparison. Each counts once for an arm, also as a labelled one.
comparison_client = Table(
    "comparison_client",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("revision", String(63), nullable=False),
    Column("client", String(64), nullable=False),
    Column("labelled", Boolean, nullable=False, default=False),
    UniqueConstraint("deployment_id", "revision", "client"),
)

# Who evaluates a deployment (name: its uid) or does a task, until when (seconds of the database's clock). A replica that
# is there holds one under its own name.
lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", Float, nullable=False),
)

# What each router had counted of a deployment when it last answered, as JSON, so that no request is counted twice.
service_level = Table(
    "service_level",
    metadata,
    Column("deployment_id", _Id, ForeignKey("deployment.id"), primary_key=True, autoincrement=False),
    Column("counted_at", Float, nullable=False),
    Column("marks", Text, nullable=False),
)

# Requests by the minute for six hours and by the hour for 30 days: at most 1,082 rows of a deployment, but for changes of
# the latency budget (budget_ms; 0: none), by which `slow` was counted.
service_level_bucket = Table(
    "service_level_bucket",
    metadata,
    Column("id", _Id, primary_key=True),
    _deployment_id(),
    Column("width_s", Integer, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("budget_ms", Integer, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("slow", BigInteger, nullable=False),
    UniqueConstraint("deployment_id", "width_s", "start", "budget_ms"),
    Index("service_level_bucket_by_start", "width_s", "start"),
)
