"""Version 4: makes its tables, or takes over what releases before alembic made."""

from alembic import op
from sqlalchemy import insert, inspect

from perennial_observer.store.migrations.takeover import take_over
from perennial_observer.store.migrations.version_4 import VERSION, metadata, schema_version

revision = "0004"
down_revision = None


def upgrade() -> None:
    """Make the tables of version 4."""
    connection = op.get_bind()
    if inspect(connection).has_table(schema_version.name):
        take_over(connection)
    else:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION))
