"""Custody of lists: signed specifications, joint seeds, closing, release after lock; remarks beside an allocation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rts.store.migrations.guards import refuse

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "list_specification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content_box", sa.LargeBinary(), nullable=False),
        sa.Column("specified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("specified_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_list_specification_trial_id_trial")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_list_specification_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_specification")),
        sa.UniqueConstraint(
            "trial_id", "plan_id", "number", name=op.f("uq_list_specification_trial_id_plan_id_number")
        ),
    )
    op.create_table(
        "seed_share",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specification_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("share_box", sa.LargeBinary(), nullable=True),
        sa.Column("revealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(revealed_at IS NULL) = (share_box IS NULL)", name=op.f("ck_seed_share_revealed_whole")),
        sa.ForeignKeyConstraint(
            ["specification_id"],
            ["list_specification.id"],
            name=op.f("fk_seed_share_specification_id_list_specification"),
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_seed_share_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seed_share")),
        sa.UniqueConstraint("specification_id", "person_id", name=op.f("uq_seed_share_specification_id_person_id")),
    )
    op.create_table(
        "list_release",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(confirmed_at IS NULL) = (confirmed_by IS NULL)", name=op.f("ck_list_release_confirmed_whole")
        ),
        sa.CheckConstraint("confirmed_by IS NULL OR confirmed_by <> asked_by", name=op.f("ck_list_release_two_people")),
        sa.ForeignKeyConstraint(["list_id"], ["list_file.id"], name=op.f("fk_list_release_list_id_list_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_release")),
        sa.UniqueConstraint("list_id", name=op.f("uq_list_release_list_id")),
    )
    op.create_table(
        "allocation_remark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("factor_values", sa.Text(), nullable=True),
        sa.Column("stratum", sa.String(length=200), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('in_error', 'stratum')", name=op.f("ck_allocation_remark_kind_known")),
        sa.CheckConstraint(
            "(kind = 'stratum') = (stratum IS NOT NULL)", name=op.f("ck_allocation_remark_stratum_whole")
        ),
        sa.CheckConstraint(
            "(stratum IS NULL) = (factor_values IS NULL)", name=op.f("ck_allocation_remark_values_whole")
        ),
        sa.ForeignKeyConstraint(["subject_id"], ["subject.id"], name=op.f("fk_allocation_remark_subject_id_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation_remark")),
    )
    op.create_index(op.f("ix_allocation_remark_subject_id"), "allocation_remark", ["subject_id"])
    # In plain SQL: SQLite adds a referring column to a standing table, but Alembic would have the table made anew there
    # and lose its triggers.
    op.execute(
        "ALTER TABLE list_file ADD COLUMN specification_id INTEGER"
        " CONSTRAINT fk_list_file_specification_id_list_specification REFERENCES list_specification (id)"
    )
    op.add_column("list_file", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("list_file", sa.Column("closed_by", sa.Text(), nullable=True))
    for table in ("list_specification", "allocation_remark"):
        refuse(table, "UPDATE")
    for table in ("list_specification", "allocation_remark", "seed_share", "list_release"):
        refuse(table, "DELETE")
    refuse(
        "seed_share",
        "UPDATE",
        "OLD.revealed_at IS NOT NULL OR NEW.specification_id <> OLD.specification_id"
        " OR NEW.person_id <> OLD.person_id OR NEW.commitment <> OLD.commitment",
    )
    refuse(
        "list_release",
        "UPDATE",
        "OLD.confirmed_at IS NOT NULL OR NEW.list_id <> OLD.list_id OR NEW.asked_by <> OLD.asked_by"
        " OR NEW.document <> OLD.document",
    )
