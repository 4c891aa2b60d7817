"""Trial definitions that come with the package."""

from __future__ import annotations

from importlib.resources import files

from rts.refusal import refuse, say

SHIPPED = ("sirius",)


def shipped_definition(name: str) -> tuple[str, str]:
    """The TOML texts, public and restricted, of a shipped trial.

    Raises Refusal `not_found` when none of that name is shipped.
    """
    if name not in SHIPPED:
        shipped = ", ".join(SHIPPED)
        raise refuse(
            "not_found", "definition.not_shipped", say("no such shipped trial; there are: %(all)s", all=shipped)
        )
    folder = files("rts.trial") / name
    public, restricted = (folder / f"{name}.toml", folder / f"{name}-restricted.toml")
    return public.read_text("utf-8"), restricted.read_text("utf-8")
