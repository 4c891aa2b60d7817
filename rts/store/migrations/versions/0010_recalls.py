"""Recalls of blinded lots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "lot_recall",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("blinded_lot_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("recalled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recalled_by", sa.Text(), nullable=False),
        sa.Column("how", sa.String(length=20), nullable=True),
        sa.Column("end_document", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.CheckConstraint("how IN ('lifted', 'rejected')", name=op.f("ck_lot_recall_how_known")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_document IS NULL)"
            " AND (ended_at IS NULL) = (how IS NULL)",
            name=op.f("ck_lot_recall_ended_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["blinded_lot_id"], ["blinded_lot.id"], name=op.f("fk_lot_recall_blinded_lot_id_blinded_lot")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lot_recall")),
    )
    op.create_index(
        "uq_lot_recall_open",
        "lot_recall",
        ["blinded_lot_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    _refuse("lot_recall", "DELETE")
    _refuse(
        "lot_recall",
        "UPDATE",
        "OLD.ended_at IS NOT NULL OR NEW.blinded_lot_id <> OLD.blinded_lot_id OR NEW.document <> OLD.document"
        " OR NEW.recalled_by <> OLD.recalled_by OR NEW.recalled_at <> OLD.recalled_at",
    )


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
