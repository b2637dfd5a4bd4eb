"""How many rows came too late to be awaited."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the count."""
    op.add_column("deployment", sa.Column("late", sa.BigInteger, nullable=False, server_default=sa.text("0")))
