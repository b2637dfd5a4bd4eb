"""How odd single rows are."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table; scores go with their row."""
    op.create_table(
        "outlier_score",
        sa.Column("row_id", _ID, sa.ForeignKey("prediction.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("monitor", sa.String(63), primary_key=True),
        sa.Column("score", sa.Float, nullable=False),
    )
