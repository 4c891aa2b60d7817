"""Allocation procedures, list generation, list quality. Pure."""
