"""The public keys of the unblinded statisticians, to whom lists are sealed besides the service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and let the database itself refuse what would rewrite its history."""
    op.create_table(
        "person_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_by", sa.Text(), nullable=True),
        sa.Column("retire_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(retired_at IS NULL) = (retired_by IS NULL) AND (retired_at IS NULL) = (retire_reason IS NULL)",
            name=op.f("ck_person_key_retired_whole"),
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_key_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_key")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_person_key_fingerprint")),
        sa.UniqueConstraint("person_id", "version", name=op.f("uq_person_key_person_id_version")),
    )
    op.create_index(
        "uq_person_key_live",
        "person_key",
        ["person_id"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    # A key is retired once, and otherwise stays as it was registered.
    changed = (
        "OLD.retired_at IS NOT NULL OR NEW.person_id <> OLD.person_id OR NEW.version <> OLD.version"
        " OR NEW.public_key <> OLD.public_key OR NEW.fingerprint <> OLD.fingerprint"
        " OR NEW.registered_at <> OLD.registered_at"
    )
    if op.get_bind().dialect.name == "postgresql":
        for verb, when in (("DELETE", ""), ("UPDATE", f"WHEN ({changed}) ")):
            op.execute(
                f"CREATE TRIGGER tr_person_key_{verb.lower()}_refused BEFORE {verb} ON person_key"
                f" FOR EACH ROW {when}EXECUTE FUNCTION rts_refuse()"
            )
        op.execute(
            "CREATE TRIGGER tr_person_key_truncate_refused BEFORE TRUNCATE ON person_key"
            " FOR EACH STATEMENT EXECUTE FUNCTION rts_refuse()"
        )
    else:
        for verb, when in (("DELETE", ""), ("UPDATE", f"WHEN ({changed}) ")):
            op.execute(
                f"CREATE TRIGGER tr_person_key_{verb.lower()}_refused BEFORE {verb} ON person_key FOR EACH ROW {when}"
                "BEGIN SELECT RAISE(ABORT, 'rows of person_key are evidence and are never changed or deleted'); END"
            )
