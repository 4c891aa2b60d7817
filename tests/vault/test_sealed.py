import copy
import json
import operator
import pickle
from collections.abc import Callable

import pytest

from rts.vault.sealed import Sealed
from rts.vault.vault import Vault


@pytest.fixture
def sealed(vault: Vault) -> Sealed:
    return vault.seal(vault.new_data_key("trial SIRIUS"), b"QZ", "subject.arm:1", 64)


@pytest.mark.requirement("BLIND-01")
def test_a_sealed_value_shows_only_a_constant(sealed: Sealed) -> None:
    assert repr(sealed) == "<sealed>"
    assert f"{[sealed]!r}" == "[<sealed>]"


@pytest.mark.parametrize(
    "use",
    [
        str,
        format,
        "{:>8}".format,
        lambda value: f"{value}",
        lambda value: "%s" % value,  # noqa: UP031
        bytes,
        bool,
        len,
        iter,
        list,
        hash,
        json.dumps,
        lambda value: json.dumps([value], default=str),
        pickle.dumps,
        lambda value: pickle.dumps(value, protocol=0),
        copy.copy,
        copy.deepcopy,
        lambda value: {value},
        lambda value: sorted([value, value]),
        lambda value: value in [0],
        lambda value: 0 in value,
        lambda value: value[0],
        lambda value: not value,
        lambda value: value.__reduce__(),
    ],
)
def test_a_sealed_value_cannot_be_shown_copied_or_counted(sealed: Sealed, use: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as raised:
        use(sealed)
    assert "QZ" not in str(raised.value)


@pytest.mark.parametrize("compare", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_a_sealed_value_cannot_be_compared_even_with_itself(
    sealed: Sealed, compare: Callable[[object, object], object]
) -> None:
    for left, right in ((sealed, sealed), (sealed, 1), (1, sealed)):
        with pytest.raises(TypeError, match="sealed value cannot be"):
            compare(left, right)


def test_a_sealed_value_holds_no_plaintext(sealed: Sealed) -> None:
    assert b"QZ" not in sealed.box
    assert not hasattr(sealed, "__dict__")
