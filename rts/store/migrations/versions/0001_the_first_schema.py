"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "idempotency_key",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("deed", sa.String(length=60), nullable=False),
        sa.Column("body_mac", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", "username", name=op.f("pk_idempotency_key")),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("clock_offset", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "environment IN ('production', 'training', 'test')", name=op.f("ck_installation_environment_known")
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("printed_name", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("password_must_change", sa.Boolean(), nullable=False),
        sa.Column("failed_sign_ins", sa.Integer(), nullable=False),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("username", name=op.f("uq_person_username")),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempt")),
    )
    op.create_index(op.f("ix_sign_in_attempt_address_at"), "sign_in_attempt", ["address", "at"], unique=False)
    op.create_index(op.f("ix_sign_in_attempt_username_at"), "sign_in_attempt", ["username", "at"], unique=False)
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("data_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
        sa.UniqueConstraint("code", name=op.f("uq_trial_code")),
    )
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("chain_id", sa.String(length=32), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_audit_chain_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
        sa.UniqueConstraint("chain_id", name=op.f("uq_audit_chain_chain_id")),
        sa.UniqueConstraint("trial_id", name=op.f("uq_audit_chain_trial_id")),
    )
    op.create_table(
        "definition_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("public_text", sa.Text(), nullable=False),
        sa.Column("restricted_box", sa.LargeBinary(), nullable=False),
        sa.Column("restricted_digest", sa.String(length=64), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("loaded_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_definition_version_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_definition_version")),
        sa.UniqueConstraint("trial_id", "version", name=op.f("uq_definition_version_trial_id_version")),
    )
    op.create_table(
        "depot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["depot.id"], name=op.f("fk_depot_parent_id_depot")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_depot_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_depot")),
        sa.UniqueConstraint("trial_id", "code", name=op.f("uq_depot_trial_id_code")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("message_id", sa.String(length=80), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("subject_line", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_notice_person_id_person")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_notice_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("message_id", name=op.f("uq_notice_message_id")),
    )
    op.create_index(op.f("ix_notice_sent_at_next_attempt_at"), "notice", ["sent_at", "next_attempt_at"], unique=False)
    op.create_table(
        "signature",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("printed_name", sa.Text(), nullable=False),
        sa.Column("meaning", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("object_type", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=80), nullable=False),
        sa.Column("record_digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_signature_person_id_person")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_signature_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signature")),
    )
    op.create_index(op.f("ix_signature_object_type_object_id"), "signature", ["object_type", "object_id"], unique=False)
    op.create_table(
        "web_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("csrf_secret", sa.Text(), nullable=False),
        sa.Column("emergency_only", sa.Boolean(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_web_session_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_web_session_token_digest")),
    )
    op.create_index(op.f("ix_web_session_person_id"), "web_session", ["person_id"], unique=False)
    op.create_table(
        "audit_checkpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("chain_id", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["chain_id"], ["audit_chain.id"], name=op.f("fk_audit_checkpoint_chain_id_audit_chain")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("chain_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("object_type", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=120), nullable=False),
        sa.Column("detail_digest", sa.String(length=64), nullable=False),
        sa.Column("definition", sa.Integer(), nullable=True),
        sa.Column("software", sa.String(length=20), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["chain_id"], ["audit_chain.id"], name=op.f("fk_audit_event_chain_id_audit_chain")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("chain_id", "number", name=op.f("uq_audit_event_chain_id_number")),
    )
    op.create_index(op.f("ix_audit_event_chain_id_at"), "audit_event", ["chain_id", "at"], unique=False)
    op.create_index(
        op.f("ix_audit_event_chain_id_site_id_number"), "audit_event", ["chain_id", "site_id", "number"], unique=False
    )
    op.create_table(
        "job_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("depot_id", sa.Integer(), nullable=True),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.CheckConstraint("outcome IN ('running', 'done', 'failed')", name=op.f("ck_job_run_outcome_known")),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_job_run_depot_id_depot")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_job_run_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_run")),
    )
    op.create_index(op.f("ix_job_run_job_scheduled_for"), "job_run", ["job", "scheduled_for"], unique=False)
    op.create_table(
        "list_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.String(length=40), nullable=False),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("prefix", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("times_generated", sa.Integer(), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("file_digest", sa.String(length=64), nullable=False),
        sa.Column("manifest_digest", sa.String(length=64), nullable=False),
        sa.Column("data_key", sa.Text(), nullable=False),
        sa.Column("seed_mark", sa.String(length=64), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("generated_by", sa.Text(), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('subjects', 'kits')", name=op.f("ck_list_file_kind_known")),
        sa.CheckConstraint("purpose IN ('production', 'training', 'test')", name=op.f("ck_list_file_purpose_known")),
        sa.CheckConstraint(
            "state IN ('generated', 'approved', 'active', 'closed', 'withdrawn')", name=op.f("ck_list_file_state_known")
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_list_file_trial_id_trial")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_list_file_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_file")),
        sa.UniqueConstraint("seed_mark", name=op.f("uq_list_file_seed_mark")),
        sa.UniqueConstraint("trial_id", "list_id", name=op.f("uq_list_file_trial_id_list_id")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("depot_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('planned', 'open', 'closed')", name=op.f("ck_site_state_known")),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_site_depot_id_depot")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_site_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("trial_id", "code", name=op.f("uq_site_trial_id_code")),
    )
    op.create_table(
        "audit_detail",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("detail_box", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "(salt IS NULL) = (detail IS NULL) AND (detail IS NULL) <> (detail_box IS NULL)",
            name=op.f("ck_audit_detail_plain_or_sealed"),
        ),
        sa.ForeignKeyConstraint(["event_id"], ["audit_event.id"], name=op.f("fk_audit_detail_event_id_audit_event")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_detail")),
    )
    op.create_table(
        "audit_mention",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["audit_event.id"], name=op.f("fk_audit_mention_event_id_audit_event")),
        sa.PrimaryKeyConstraint("event_id", "kind", "code", name=op.f("pk_audit_mention")),
    )
    op.create_index(op.f("ix_audit_mention_kind_code"), "audit_mention", ["kind", "code"], unique=False)
    op.create_table(
        "blinded_lot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("depot_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("expiry", sa.Date(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("release_document", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_blinded_lot_depot_id_depot")),
        sa.ForeignKeyConstraint(["list_id"], ["list_file.id"], name=op.f("fk_blinded_lot_list_id_list_file")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_blinded_lot_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blinded_lot")),
        sa.UniqueConstraint("list_id", name=op.f("uq_blinded_lot_list_id")),
        sa.UniqueConstraint("trial_id", "code", name=op.f("uq_blinded_lot_trial_id_code")),
    )
    op.create_table(
        "definition_in_force",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("from_date", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_definition_in_force_site_id_site")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_definition_in_force_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_definition_in_force")),
        sa.UniqueConstraint("site_id", "from_date", name=op.f("uq_definition_in_force_site_id_from_date")),
    )
    op.create_table(
        "resupply_record",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("run_date", sa.Date(), nullable=False),
        sa.Column("record_box", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_resupply_record_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resupply_record")),
        sa.UniqueConstraint("site_id", "run_date", name=op.f("uq_resupply_record_site_id_run_date")),
    )
    op.create_table(
        "role_grant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("depot_id", sa.Integer(), nullable=True),
        sa.Column("granted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("granted_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_role_grant_depot_id_depot")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_role_grant_person_id_person")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_role_grant_site_id_site")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_role_grant_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grant")),
    )
    op.create_index(op.f("ix_role_grant_person_id"), "role_grant", ["person_id"], unique=False)
    op.create_table(
        "shipment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("depot_id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("ship_on", sa.Date(), nullable=False),
        sa.Column("expected_on", sa.Date(), nullable=False),
        sa.Column("picked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("picked_by", sa.Text(), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_by", sa.Text(), nullable=True),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("tracking", sa.Text(), nullable=True),
        sa.Column("logger", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("overdue_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('requested', 'picked', 'in_transit', 'received', 'lost', 'cancelled')",
            name=op.f("ck_shipment_state_known"),
        ),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_shipment_depot_id_depot")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_shipment_site_id_site")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_shipment_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipment")),
        sa.UniqueConstraint("trial_id", "number", name=op.f("uq_shipment_trial_id_number")),
    )
    op.create_index(op.f("ix_shipment_depot_id_state"), "shipment", ["depot_id", "state"], unique=False)
    op.create_index(op.f("ix_shipment_site_id_state"), "shipment", ["site_id", "state"], unique=False)
    op.create_table(
        "site_gate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("gate", sa.String(length=40), nullable=False),
        sa.Column("passed_on", sa.Date(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_site_gate_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_gate")),
        sa.UniqueConstraint("site_id", "gate", name=op.f("uq_site_gate_site_id_gate")),
    )
    op.create_table(
        "subject",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("consent_on", sa.Date(), nullable=False),
        sa.Column("year_of_birth", sa.Integer(), nullable=False),
        sa.Column("sex", sa.String(length=10), nullable=False),
        sa.Column("answers", sa.Text(), nullable=True),
        sa.Column("factor_values", sa.Text(), nullable=True),
        sa.Column("stratum", sa.String(length=200), nullable=True),
        sa.Column("dose_level", sa.String(length=40), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("screened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("screened_by", sa.Text(), nullable=False),
        sa.Column("previous_code", sa.String(length=40), nullable=True),
        sa.Column("randomised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("randomised_on", sa.Date(), nullable=True),
        sa.Column("randomised_by", sa.Text(), nullable=True),
        sa.Column("randomisation_number", sa.String(length=20), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("unblinded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(randomised_at IS NULL) = (state IN ('screened', 'screen_failed'))", name=op.f("ck_subject_state_whole")
        ),
        sa.CheckConstraint("sex IN ('female', 'male')", name=op.f("ck_subject_sex_known")),
        sa.CheckConstraint(
            "state IN ('screened', 'screen_failed', 'randomised', 'withdrawn', 'completed')",
            name=op.f("ck_subject_state_known"),
        ),
        sa.CheckConstraint(
            "(randomised_at IS NULL) = (randomisation_number IS NULL)", name=op.f("ck_subject_randomised_whole")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_subject_site_id_site")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_subject_trial_id_trial")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_subject_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
        sa.UniqueConstraint("site_id", "sequence", name=op.f("uq_subject_site_id_sequence")),
        sa.UniqueConstraint("trial_id", "code", name=op.f("uq_subject_trial_id_code")),
        sa.UniqueConstraint("trial_id", "randomisation_number", name=op.f("uq_subject_trial_id_randomisation_number")),
    )
    op.create_index(op.f("ix_subject_site_id_state"), "subject", ["site_id", "state"], unique=False)
    op.create_table(
        "code_break",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("signature_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("adverse_event", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind IN ('break', 'look')", name=op.f("ck_code_break_kind_known")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_code_break_person_id_person")),
        sa.ForeignKeyConstraint(["signature_id"], ["signature.id"], name=op.f("fk_code_break_signature_id_signature")),
        sa.ForeignKeyConstraint(["subject_id"], ["subject.id"], name=op.f("fk_code_break_subject_id_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_break")),
    )
    op.create_index(op.f("ix_code_break_subject_id"), "code_break", ["subject_id"], unique=False)
    op.create_table(
        "kit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("blinded_lot_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("depot_id", sa.Integer(), nullable=True),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("shipment_id", sa.Integer(), nullable=True),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("visit", sa.String(length=40), nullable=True),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(state IN ('assigned', 'dispensed')) = (subject_id IS NOT NULL)", name=op.f("ck_kit_held_by_a_subject")
        ),
        sa.CheckConstraint(
            "state NOT IN ('available', 'assigned', 'dispensed', 'quarantined') OR site_id IS NOT NULL",
            name=op.f("ck_kit_at_a_site"),
        ),
        sa.ForeignKeyConstraint(["blinded_lot_id"], ["blinded_lot.id"], name=op.f("fk_kit_blinded_lot_id_blinded_lot")),
        sa.ForeignKeyConstraint(["depot_id"], ["depot.id"], name=op.f("fk_kit_depot_id_depot")),
        sa.ForeignKeyConstraint(["list_id"], ["list_file.id"], name=op.f("fk_kit_list_id_list_file")),
        sa.ForeignKeyConstraint(["shipment_id"], ["shipment.id"], name=op.f("fk_kit_shipment_id_shipment")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_kit_site_id_site")),
        sa.ForeignKeyConstraint(["subject_id"], ["subject.id"], name=op.f("fk_kit_subject_id_subject")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_kit_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit")),
        sa.UniqueConstraint("list_id", "position", name=op.f("uq_kit_list_id_position")),
        sa.UniqueConstraint("trial_id", "number", name=op.f("uq_kit_trial_id_number")),
    )
    op.create_index(op.f("ix_kit_depot_id_state"), "kit", ["depot_id", "state"], unique=False)
    op.create_index(op.f("ix_kit_shipment_id"), "kit", ["shipment_id"], unique=False)
    op.create_index(op.f("ix_kit_site_id_state"), "kit", ["site_id", "state"], unique=False)
    op.create_index(op.f("ix_kit_subject_id"), "kit", ["subject_id"], unique=False)
    op.create_table(
        "list_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("stratum", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(subject_id IS NULL) = (used_at IS NULL)", name=op.f("ck_list_entry_used_whole")),
        sa.ForeignKeyConstraint(["list_id"], ["list_file.id"], name=op.f("fk_list_entry_list_id_list_file")),
        sa.ForeignKeyConstraint(["subject_id"], ["subject.id"], name=op.f("fk_list_entry_subject_id_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_entry")),
        sa.UniqueConstraint("list_id", "stratum", "position", name=op.f("uq_list_entry_list_id_stratum_position")),
    )
    op.create_index(
        "uq_list_entry_subject_id",
        "list_entry",
        ["subject_id"],
        unique=True,
        sqlite_where=sa.text("subject_id IS NOT NULL"),
        postgresql_where=sa.text("subject_id IS NOT NULL"),
    )
    op.create_index(
        "ix_list_entry_unused",
        "list_entry",
        ["list_id", "stratum", "position"],
        unique=False,
        sqlite_where=sa.text("subject_id IS NULL"),
        postgresql_where=sa.text("subject_id IS NULL"),
    )
    op.create_table(
        "manufacturing_lot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("blinded_lot_id", sa.Integer(), nullable=False),
        sa.Column("lots_box", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["blinded_lot_id"], ["blinded_lot.id"], name=op.f("fk_manufacturing_lot_blinded_lot_id_blinded_lot")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manufacturing_lot")),
        sa.UniqueConstraint("blinded_lot_id", name=op.f("uq_manufacturing_lot_blinded_lot_id")),
    )
    op.create_table(
        "dispensing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("visit", sa.String(length=40), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("assigned_by", sa.Text(), nullable=False),
        sa.Column("window_reason", sa.Text(), nullable=True),
        sa.Column("dispensed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispensed_on", sa.Date(), nullable=True),
        sa.Column("dispensed_by", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('assigned', 'dispensed', 'replaced', 'put_back')", name=op.f("ck_dispensing_state_known")
        ),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_dispensing_kit_id_kit")),
        sa.ForeignKeyConstraint(["subject_id"], ["subject.id"], name=op.f("fk_dispensing_subject_id_subject")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_dispensing_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispensing")),
        sa.UniqueConstraint("kit_id", name=op.f("uq_dispensing_kit_id")),
        sa.UniqueConstraint(
            "subject_id", "visit", "slot", "attempt", name=op.f("uq_dispensing_subject_id_visit_slot_attempt")
        ),
    )
    op.create_index(
        "uq_dispensing_live",
        "dispensing",
        ["subject_id", "visit", "slot"],
        unique=True,
        sqlite_where=sa.text("state IN ('assigned', 'dispensed')"),
        postgresql_where=sa.text("state IN ('assigned', 'dispensed')"),
    )
    op.create_table(
        "kit_move",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("move", sa.String(length=40), nullable=False),
        sa.Column("from_state", sa.String(length=20), nullable=False),
        sa.Column("to_state", sa.String(length=20), nullable=False),
        sa.Column("depot_id", sa.Integer(), nullable=True),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("shipment_id", sa.Integer(), nullable=True),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("visit", sa.String(length=40), nullable=True),
        sa.Column("doer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_kit_move_kit_id_kit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kit_move")),
        sa.UniqueConstraint("kit_id", "sequence", name=op.f("uq_kit_move_kit_id_sequence")),
    )
    op.create_table(
        "shipment_kit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shipment_id", sa.Integer(), nullable=False),
        sa.Column("kit_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('good', 'damaged', 'missing', 'excursion')", name=op.f("ck_shipment_kit_outcome_known")
        ),
        sa.ForeignKeyConstraint(["kit_id"], ["kit.id"], name=op.f("fk_shipment_kit_kit_id_kit")),
        sa.ForeignKeyConstraint(["shipment_id"], ["shipment.id"], name=op.f("fk_shipment_kit_shipment_id_shipment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipment_kit")),
        sa.UniqueConstraint("shipment_id", "kit_id", name=op.f("uq_shipment_kit_shipment_id_kit_id")),
    )
    op.create_index(op.f("ix_shipment_kit_kit_id"), "shipment_kit", ["kit_id"], unique=False)

    _refuse_changes()


# Rows that are evidence: the database itself refuses to change or delete them, whatever the code lets slip.
EVIDENCE = (
    "audit_event",
    "audit_detail",
    "audit_mention",
    "audit_checkpoint",
    "kit_move",
    "signature",
    "definition_version",
    "code_break",
)
# Rows that go on, in the columns that may go on, and stay for ever.
KEPT = ("list_entry", "list_file", "kit", "subject", "shipment", "dispensing", "role_grant", "person")


def _refuse_changes() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute(
            """CREATE FUNCTION rts_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'rows of % are evidence and are never changed or deleted', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation'; END $$"""
        )
        # A row trigger does not see TRUNCATE.
        for table in (*EVIDENCE, *KEPT):
            op.execute(
                f"CREATE TRIGGER tr_{table}_truncate_refused BEFORE TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION rts_refuse()"
            )
    for table in EVIDENCE:
        _forbid(table, "UPDATE", postgresql)
    for table in (*EVIDENCE, *KEPT):
        _forbid(table, "DELETE", postgresql)
    # A used entry stays used by whom it was used; a record never changes.
    _forbid(
        "list_entry",
        "UPDATE",
        postgresql,
        "OLD.subject_id IS NOT NULL OR NEW.record <> OLD.record OR NEW.position <> OLD.position"
        " OR NEW.stratum <> OLD.stratum OR NEW.list_id <> OLD.list_id",
    )
    _forbid_skipping(postgresql)
    _forbid(
        "list_file",
        "UPDATE",
        postgresql,
        "NEW.list_id <> OLD.list_id OR NEW.purpose <> OLD.purpose OR NEW.commitment <> OLD.commitment"
        " OR NEW.file_digest <> OLD.file_digest OR NEW.manifest_digest <> OLD.manifest_digest"
        " OR NEW.seed_mark <> OLD.seed_mark OR NEW.generated_by <> OLD.generated_by"
        " OR NEW.approved_by <> OLD.approved_by OR NEW.activated_by <> OLD.activated_by",
    )
    _forbid(
        "kit",
        "UPDATE",
        postgresql,
        "NEW.record <> OLD.record OR NEW.number <> OLD.number OR NEW.position <> OLD.position"
        " OR NEW.list_id <> OLD.list_id OR NEW.blinded_lot_id <> OLD.blinded_lot_id",
    )
    _forbid(
        "subject",
        "UPDATE",
        postgresql,
        "NEW.code <> OLD.code OR (OLD.randomisation_number IS NOT NULL AND"
        " (NEW.randomisation_number IS NULL OR NEW.randomisation_number <> OLD.randomisation_number))",
    )
    _forbid(
        "dispensing",
        "UPDATE",
        postgresql,
        "NEW.subject_id <> OLD.subject_id OR NEW.kit_id <> OLD.kit_id OR NEW.visit <> OLD.visit",
    )
    # Who held which role on a date stays answerable: a grant is only ended, once.
    _forbid(
        "role_grant",
        "UPDATE",
        postgresql,
        "OLD.granted_to IS NOT NULL OR NEW.person_id <> OLD.person_id OR NEW.role <> OLD.role"
        " OR NEW.granted_from <> OLD.granted_from",
    )
    _forbid("person", "UPDATE", postgresql, "NEW.username <> OLD.username")


def _forbid(table: str, verb: str, postgresql: bool, when: str = "") -> None:
    name = f"tr_{table}_{verb.lower()}_refused"
    condition = f"WHEN ({when}) " if when else ""
    if postgresql:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}EXECUTE FUNCTION rts_refuse()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are evidence and are never changed or deleted'); END"
        )


def _forbid_skipping(postgresql: bool) -> None:
    """In each stratum of a list, entries are used in order: an earlier one that is unused must be taken first."""
    # As a minimum, which an index answers with its first row: asked whether an earlier one exists, PostgreSQL
    # expects to
    # meet one soon, reads the table and finds none in a million rows.
    earlier = (
        "(SELECT min(entry.position) FROM list_entry AS entry WHERE entry.list_id = OLD.list_id"
        " AND entry.stratum = OLD.stratum AND entry.subject_id IS NULL) < OLD.position"
    )
    message = "an earlier entry of this stratum is unused"
    taking = "OLD.subject_id IS NULL AND NEW.subject_id IS NOT NULL"
    if postgresql:
        op.execute(
            f"""CREATE FUNCTION rts_refuse_skipping() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF {earlier} THEN
                RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW; END $$"""
        )
        op.execute(
            "CREATE TRIGGER tr_list_entry_in_order BEFORE UPDATE ON list_entry"
            f" FOR EACH ROW WHEN ({taking}) EXECUTE FUNCTION rts_refuse_skipping()"
        )
    else:
        op.execute(
            "CREATE TRIGGER tr_list_entry_in_order BEFORE UPDATE ON list_entry"
            f" FOR EACH ROW WHEN ({taking} AND {earlier}) BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
