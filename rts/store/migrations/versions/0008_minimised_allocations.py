"""What minimisation made of each word of a tape."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

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
        _refuse("minimised_allocation", verb)


def _refuse(table: str, verb: str, when: str = "") -> None:
    name = f"tr_{table}_{verb.lower()}_refused"
    condition = f"WHEN ({when}) " if when else ""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}EXECUTE FUNCTION rts_refuse()"
        )
        if verb == "DELETE":
            op.execute(
                f"CREATE TRIGGER tr_{table}_truncate_refused BEFORE TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION rts_refuse()"
            )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are evidence and are never changed or deleted'); END"
        )
