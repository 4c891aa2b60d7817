"""Who gave a person a password stays known until a second person has confirmed the account, and with a signature."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("password_given_by", sa.String(length=120), nullable=True))
    op.add_column("signature", sa.Column("password_given_by", sa.String(length=120), nullable=True))
    # A first password that nobody has changed yet was given by somebody: the trail tells by whom. Accounts whose owners
    # have chosen a password of their own go on as they did.
    op.execute(
        """UPDATE person SET password_given_by = (
            SELECT event.actor FROM audit_event AS event WHERE event.object_type = 'person'
            AND event.object_id = person.username AND event.action IN ('person.added', 'password.reset')
            ORDER BY event.id DESC LIMIT 1)
        WHERE password_must_change"""
    )
