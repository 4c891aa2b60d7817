"""Kits that subjects brought back, kits verified by monitors, and kits destroyed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rts.store.migrations.guards import refuse

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "kit_return",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("dispensing_id", sa.Integer(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=True),
        sa.Column("returned_on", sa.Date(), nullable=False),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.CheckConstraint("units IS NULL OR units >= 0", name=op.f("ck_kit_return_units_counted")),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_kit_return_kit_id_kit")),
        sa.ForeignKeyConstraint(
            ["dispensing_id"], ["dispensing.id"], name=op.f("fk_kit_return_dispensing_id_dispensing")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit_return")),
        sa.UniqueConstraint("kit_id", "number", name=op.f("uq_kit_return_kit_id_number")),
    )
    op.create_index(op.f("ix_kit_return_dispensing_id"), "kit_return", ["dispensing_id"])
    op.create_table(
        "kit_verification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verified_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_kit_verification_kit_id_kit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit_verification")),
        sa.UniqueConstraint("kit_id", "moves", name=op.f("uq_kit_verification_kit_id_moves")),
    )
    op.create_table(
        "destruction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("depot_id", sa.Integer(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("authorised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("authorised_by", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.Column("destroyed_on", sa.Date(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(site_id IS NULL) <> (depot_id IS NULL)", name=op.f("ck_destruction_at_one_place")),
        sa.CheckConstraint(
            "(recorded_at IS NULL) = (recorded_by IS NULL) AND (recorded_at IS NULL) = (destroyed_on IS NULL)"
            " AND (recorded_at IS NULL) = (certificate IS NULL)",
            name=op.f("ck_destruction_recorded_whole"),
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_destruction_trial_id_trial")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_destruction_site_id_site")),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_destruction_depot_id_depot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destruction")),
        sa.UniqueConstraint("trial_id", "number", name=op.f("uq_destruction_trial_id_number")),
    )
    op.create_table(
        "destruction_kit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("destruction_id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["destruction_id"], ["destruction.id"], name=op.f("fk_destruction_kit_destruction_id_destruction")
        ),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_destruction_kit_kit_id_kit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destruction_kit")),
        sa.UniqueConstraint("kit_id", name=op.f("uq_destruction_kit_kit_id")),
    )
    op.create_index(op.f("ix_destruction_kit_destruction_id"), "destruction_kit", ["destruction_id"])
    for table in ("kit_return", "kit_verification", "destruction_kit"):
        refuse(table, "UPDATE")
    for table in ("kit_return", "kit_verification", "destruction_kit", "destruction"):
        refuse(table, "DELETE")
    refuse(
        "destruction",
        "UPDATE",
        "OLD.recorded_at IS NOT NULL OR NEW.number <> OLD.number OR NEW.document <> OLD.document"
        " OR NEW.authorised_by <> OLD.authorised_by OR NEW.authorised_at <> OLD.authorised_at",
    )
