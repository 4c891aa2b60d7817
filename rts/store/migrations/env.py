"""Alembic's entry point: always on a connection that `rts.store.migrations` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from rts.store.tables import Base, UtcDateTime


def _render(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    """Migrations stand on their own: they name SQLAlchemy's types, never those of a room that may change."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_item=_render,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
