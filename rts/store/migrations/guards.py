"""The guard of evidence tables, as migrations after the first set it up. Landed migrations call it: never change it."""

from __future__ import annotations

from alembic import op


def refuse(table: str, verb: str, when: str = "") -> None:
    """Have the database refuse UPDATE or DELETE of rows of `table`: always, or of those where `when` holds.

    `when` is SQL on OLD and NEW. On PostgreSQL the refusal of DELETE goes for TRUNCATE too.
    """
    name = f"tr_{table}_{verb.lower()}_refused"
    condition = f"WHEN ({when}) " if when else ""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}EXECUTE FUNCTION rts_refuse()"
        )
        if verb == "DELETE":
            op.execute(
                f"CREATE TRIGGER tr_{table}_truncate_refused BEFORE TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION rts_refuse()"
            )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are evidence and are never changed or deleted'); END"
        )
