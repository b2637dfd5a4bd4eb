"""The tables as version 4 had them, the last one before alembic. It never changes: later revisions build on it."""

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
)

__all__ = ["VERSION", "deployment", "feedback", "metadata", "schema_version"]

VERSION = 4

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")


def _deployment_id() -> Column[int]:
    return Column("deployment_id", _Id, ForeignKey("deployment.id"), nullable=False)


schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

deployment = Table(
    "deployment",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("latest_event", Float),
    Column("predictions", BigInteger, nullable=False, default=0),
    Column("labels", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Index("deployment_by_name", "namespace", "name"),
)

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
    Index("prediction_by_arrival", "arrival"),
    sqlite_autoincrement=True,
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
)

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
    Index("feedback_by_known", "known", "arrival"),
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
    Index("shadow_row_by_arrival", "arrival"),
)

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
