"""A version comes into force site by site, with its document; a plan taken back stays; a site's depot is told by the
version in force there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STANDS = sa.text("ended_at IS NULL")
NEW_COLUMNS = (
    ("document", sa.Text()),
    ("recorded_at", sa.DateTime(timezone=True)),
    ("recorded_by", sa.Text()),
    ("ended_at", sa.DateTime(timezone=True)),
    ("ended_by", sa.Text()),
    ("end_reason", sa.Text()),
)
ENDED_WHOLE = "(ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)"


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "postgresql":
        _alter()
    else:
        _rebuild()
    for columns in (["site_id", "from_date"], ["site_id", "version_id"]):
        op.create_index(
            op.f(f"uq_definition_in_force_standing_{columns[1]}"),
            "definition_in_force",
            columns,
            unique=True,
            sqlite_where=STANDS,
            postgresql_where=STANDS,
        )
    _refuse_changes()


def _alter() -> None:
    op.drop_column("site", "depot_id")
    for name, kind in NEW_COLUMNS:
        op.add_column("definition_in_force", sa.Column(name, kind, nullable=True))
    # Before, loading a version put it in force at every site; no document was asked for.
    op.execute(
        """UPDATE definition_in_force
        SET document = '', recorded_at = version.loaded_at, recorded_by = version.loaded_by
        FROM definition_version AS version WHERE version.id = definition_in_force.version_id"""
    )
    for name in ("document", "recorded_at", "recorded_by"):
        op.alter_column("definition_in_force", name, nullable=False)
    op.drop_constraint(op.f("uq_definition_in_force_site_id_from_date"), "definition_in_force", type_="unique")
    op.create_check_constraint(op.f("ck_definition_in_force_ended_whole"), "definition_in_force", ENDED_WHOLE)


def _rebuild() -> None:
    """SQLite alters no constraint: both tables are made anew, their rows kept aside meanwhile.

    Their foreign keys are judged at the commit, when every row that others refer to is there again.
    """
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM definition_in_force")
    op.drop_table("definition_in_force")
    op.create_table(
        "definition_in_force",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("from_date", sa.Date(), nullable=False),
        *(sa.Column(name, kind, nullable=name.startswith("end")) for name, kind in NEW_COLUMNS),
        sa.CheckConstraint(ENDED_WHOLE, name=op.f("ck_definition_in_force_ended_whole")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_definition_in_force_site_id_site")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["definition_version.id"], name=op.f("fk_definition_in_force_version_id_definition_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_definition_in_force")),
    )
    op.execute(
        """INSERT INTO definition_in_force
            (id, site_id, version_id, from_date, document, recorded_at, recorded_by)
        SELECT kept.id, kept.site_id, kept.version_id, kept.from_date, '', version.loaded_at, version.loaded_by
        FROM kept JOIN definition_version AS version ON version.id = kept.version_id"""
    )
    op.execute("DROP TABLE kept")
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT id, trial_id, code, state, opened_at, closed_at FROM site")
    op.drop_table("site")
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('planned', 'open', 'closed')", name=op.f("ck_site_state_known")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_site_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("trial_id", "code", name=op.f("uq_site_trial_id_code")),
    )
    op.execute("INSERT INTO site (id, trial_id, code, state, opened_at, closed_at) SELECT * FROM kept")
    op.execute("DROP TABLE kept")


def _refuse_changes() -> None:
    """What was in force stays told: a row is ended once, and later versions come later."""
    table = "definition_in_force"
    changed = "OLD.ended_at IS NOT NULL OR " + " OR ".join(
        f"NEW.{name} <> OLD.{name}"
        for name in ("id", "site_id", "version_id", "from_date", "document", "recorded_at", "recorded_by")
    )
    # Versions of a trial are loaded one after the other, so a later one has the higher id.
    backwards = (
        "EXISTS (SELECT 1 FROM definition_in_force AS other WHERE other.site_id = NEW.site_id"
        " AND other.ended_at IS NULL AND (other.from_date < NEW.from_date) <> (other.version_id < NEW.version_id))"
    )
    message = "versions come into force at a site in the order of their numbers"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER tr_{table}_truncate_refused BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION rts_refuse()"
        )
        for verb, when in (("DELETE", ""), ("UPDATE", f"WHEN ({changed}) ")):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{verb.lower()}_refused BEFORE {verb} ON {table}"
                f" FOR EACH ROW {when}EXECUTE FUNCTION rts_refuse()"
            )
        op.execute(
            f"""CREATE FUNCTION rts_refuse_backwards() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF {backwards} THEN
                RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW; END $$"""
        )
        op.execute(
            f"CREATE TRIGGER tr_{table}_in_order BEFORE INSERT ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION rts_refuse_backwards()"
        )
    else:
        evidence = f"rows of {table} are evidence and are never changed or deleted"
        for verb, name, when, words in (
            ("DELETE", "delete_refused", "", evidence),
            ("UPDATE", "update_refused", f"WHEN ({changed}) ", evidence),
            ("INSERT", "in_order", f"WHEN ({backwards}) ", message),
        ):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{name} BEFORE {verb} ON {table} FOR EACH ROW {when}BEGIN"
                f" SELECT RAISE(ABORT, '{words}'); END"
            )
