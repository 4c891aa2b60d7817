"""The protocol as data: what a trial team writes, and what every other room reads."""
