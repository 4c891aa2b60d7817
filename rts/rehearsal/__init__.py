"""A whole trial on a test clock, through the real deeds."""
