"""Recalls of blinded lots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rts.store.migrations.guards import refuse

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
    refuse("lot_recall", "DELETE")
    refuse(
        "lot_recall",
        "UPDATE",
        "OLD.ended_at IS NOT NULL OR NEW.blinded_lot_id <> OLD.blinded_lot_id OR NEW.document <> OLD.document"
        " OR NEW.recalled_by <> OLD.recalled_by OR NEW.recalled_at <> OLD.recalled_at",
    )
