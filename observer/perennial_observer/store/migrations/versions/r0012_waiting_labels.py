"""Labels that wait for their prediction have an index of their own, which is nearly always empty."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Index them by deployment, in place of an index of all labels of which most are known."""
    op.create_index(
        "feedback_waiting",
        "feedback",
        ["deployment_id", "arrival"],
        sqlite_where=sa.text("known IS 0"),
        postgresql_where=sa.text("known IS false"),
    )
    op.drop_index("feedback_by_known", "feedback")
