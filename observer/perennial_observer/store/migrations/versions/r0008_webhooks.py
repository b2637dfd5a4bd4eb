"""What is to be told of monitors, until it has arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table and the index that finds what is due."""
    op.create_table(
        "webhook_event",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("deployment_id", _ID, sa.ForeignKey("deployment.id"), nullable=False),
        sa.Column("event_id", sa.String(160), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.Float, nullable=False),
    )
    op.create_index("webhook_event_by_due", "webhook_event", ["due", "id"])
