"""The database: tables, migrations, transaction, locks, kit ledger, audit trail, outbox."""
