"""That entries are taken in order is asked for the first unused one alone."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name != "postgresql":
        return  # SQLite answers a minimum with the first row of the index, whatever it planned
    # A minimum that was planned while the list was short looks at every unused entry of a list that has grown since,
    # until the database has counted anew. The first row in order is the first row of the index under any plan.
    op.execute(
        """CREATE OR REPLACE FUNCTION rts_refuse_skipping() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF (SELECT entry.position FROM list_entry AS entry WHERE entry.list_id = OLD.list_id
            AND entry.stratum = OLD.stratum AND entry.subject_id IS NULL ORDER BY entry.position LIMIT 1) < OLD.position
        THEN
            RAISE EXCEPTION 'an earlier entry of this stratum is unused'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW; END $$"""
    )
