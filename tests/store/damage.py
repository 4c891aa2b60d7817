"""Changing rows behind the service's back, as somebody with the database's password could."""

from __future__ import annotations

from sqlalchemy import Engine


def damage(engine: Engine, *statements: str) -> None:
    """Run SQL with the triggers that protect evidence, and foreign keys, switched off. Check and unique constraints
    stay. Each statement must change something.
    """
    connection = engine.raw_connection()
    is_postgresql = engine.dialect.name == "postgresql"
    try:
        cursor = connection.cursor()
        if is_postgresql:
            cursor.execute("SET LOCAL session_replication_role = replica")
        else:
            cursor.execute("PRAGMA foreign_keys = OFF")
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in cursor.fetchall():
                cursor.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount > 0, statement
        if is_postgresql:
            connection.commit()
        else:
            cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        connection.close()
