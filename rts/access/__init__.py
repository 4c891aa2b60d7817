"""People, roles, permissions, sign-in, e-signatures, throttling."""
