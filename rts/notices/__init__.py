"""Mail, sent from the outbox."""
