"""The shipped texts, and small edits of them."""

from rts.trial.shipped import shipped_definition

PUBLIC, RESTRICTED = shipped_definition("sirius")


def edited(text: str, old: str, new: str) -> str:
    """`text` with the first `old` replaced; fails when there is none, so that no test edits nothing."""
    assert old in text, f"{old!r} is not in the text"
    return text.replace(old, new, 1)


def line_of(text: str, piece: str) -> int:
    """The line, from 1, on which `piece` first stands."""
    assert piece in text
    return text[: text.index(piece)].count("\n") + 1


MINIMISED = edited(
    RESTRICTED,
    '"permuted-blocks"\nblock_sizes = [4, 6]',
    '"minimisation"\nmetric = "range"\nprobability = "4/5"\nweights = { SLEDAI = 2, STEROID = 1, site = 1 }',
)
