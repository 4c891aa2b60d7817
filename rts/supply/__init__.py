"""Kit life cycle, expiry clocks, resupply decision, calendars. Pure."""
