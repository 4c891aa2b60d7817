"""Sites that their depot cannot supply: since when, so that it is told once and stands on the page until it is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("site", sa.Column("unsupplied_since", sa.DateTime(timezone=True), nullable=True))
