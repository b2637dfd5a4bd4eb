"""What each deployment's log takes, and indexes that find the oldest rows of one deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# Bytes of a row beside its texts, and the texts, as of this revision.
_SIZES = {
    "prediction": "330 + length(inputs) + length(outputs)",
    "feedback": "250",
    "rejected_row": "330 + length(inputs)",
    "shadow_row": "330 + length(outputs)",
}


def upgrade() -> None:
    """Add the column and the indexes, and sum up what is there."""
    op.add_column(
        "deployment", sa.Column("log_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    for table in ("prediction", "shadow_row"):
        op.drop_index(f"{table}_by_arrival", table, if_exists=True)
    for table, size in _SIZES.items():
        op.create_index(f"{table}_by_arrival", table, ["deployment_id", "arrival"])
        op.execute(
            sa.text(
                f"UPDATE deployment SET log_bytes = log_bytes + (SELECT coalesce(sum({size}), 0) FROM {table} "  # noqa: S608  constants
                f"WHERE {table}.deployment_id = deployment.id)"
            )
        )
