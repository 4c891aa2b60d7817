"""What may be told of an unexpected error: its kind and the places it passed, never what it says.

The text of an error and the local variables on its way may hold an arm, a kit type or a password.
"""

from __future__ import annotations

MOST_PLACES = 12


def places_of(error: BaseException) -> list[str]:
    """File and line of the last places that `error` passed, outermost first; files by their path in the package."""
    places = []
    step = error.__traceback__
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename.rsplit('/rts/', 1)[-1]}:{step.tb_lineno}")
        step = step.tb_next
    return places[-MOST_PLACES:]
