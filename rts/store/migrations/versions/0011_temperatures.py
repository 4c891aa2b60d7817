"""Readings of temperature loggers, and the kits that were beside them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rts.store.migrations.guards import refuse

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "temperature_record",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("shipment_id", sa.Integer(), nullable=True),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("file_digest", sa.String(length=64), nullable=False),
        sa.Column("readings", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_temperature_record_trial_id_trial")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_temperature_record_site_id_site")),
        sa.ForeignKeyConstraint(
            ["shipment_id"], ["shipment.id"], name=op.f("fk_temperature_record_shipment_id_shipment")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["definition_version.id"],
            name=op.f("fk_temperature_record_version_id_definition_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_temperature_record")),
        sa.UniqueConstraint("trial_id", "number", name=op.f("uq_temperature_record_trial_id_number")),
    )
    op.create_index(op.f("ix_temperature_record_site_id"), "temperature_record", ["site_id"])
    op.create_index(op.f("ix_temperature_record_shipment_id"), "temperature_record", ["shipment_id"])
    op.create_table(
        "kit_exposure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("record_id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["record_id"], ["temperature_record.id"], name=op.f("fk_kit_exposure_record_id_temperature_record")
        ),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_kit_exposure_kit_id_kit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit_exposure")),
        sa.UniqueConstraint("record_id", "kit_id", name=op.f("uq_kit_exposure_record_id_kit_id")),
    )
    op.create_index(op.f("ix_kit_exposure_kit_id"), "kit_exposure", ["kit_id"])
    for table in ("temperature_record", "kit_exposure"):
        for verb in ("UPDATE", "DELETE"):
            refuse(table, verb)
