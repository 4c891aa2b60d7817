"""What minimisation made of each word of a tape."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rts.store.migrations.guards import refuse

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "minimised_allocation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["list_entry.id"], name=op.f("fk_minimised_allocation_entry_id_list_entry")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_minimised_allocation")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_minimised_allocation_entry_id")),
    )
    for verb in ("UPDATE", "DELETE"):
        refuse("minimised_allocation", verb)
