"""What scores of rows take counts in the size of a deployment's log."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add what is there: 90 bytes for each, as of this revision."""
    op.execute(
        sa.text(
            "UPDATE deployment SET log_bytes = log_bytes + 90 * (SELECT count(*) FROM outlier_score "
            "JOIN prediction ON prediction.id = outlier_score.row_id WHERE prediction.deployment_id = deployment.id)"
        )
    )
