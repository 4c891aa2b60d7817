"""`python -m rts.cli`."""

from rts.cli import main

main(prog_name="rts")
