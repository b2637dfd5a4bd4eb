"""What the gateway counted, by time, for monitors of service levels."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the marks of the routers' counters, and the buckets."""
    op.create_table(
        "service_level",
        sa.Column(
            "deployment_id", _ID, sa.ForeignKey("deployment.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("counted_at", sa.Float, nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
    )
    op.create_table(
        "service_level_bucket",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("deployment_id", _ID, sa.ForeignKey("deployment.id"), nullable=False),
        sa.Column("width_s", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("budget_ms", sa.Integer, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("slow", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("deployment_id", "width_s", "start", "budget_ms"),
    )
    op.create_index("service_level_bucket_by_start", "service_level_bucket", ["width_s", "start"])
