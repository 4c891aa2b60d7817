"""Whatever the trail keeps a code for has words: a deed, event or fact that is added needs its own."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import rts
from rts import conduct
from rts.app import create_app
from rts.trial.reading import read_definition
from rts.trial.shipped import shipped_definition
from rts.web.audit_words import (
    ACTIONS_OF_INSTALLATION,
    ACTIONS_OF_TRIAL,
    DEEDS,
    FACTS,
    OBJECTS,
    action_word,
    changes_of,
    fact_word,
    facts_of,
    object_name,
)
from tests.world import World

SIRIUS = read_definition(shipped_definition("sirius")[0])


def functions() -> Iterator[ast.FunctionDef]:
    """Every function of the service."""
    for source in Path(rts.__file__).parent.rglob("*.py"):
        for found in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(found, ast.FunctionDef):
                yield found


def events_written(within: ast.AST) -> Iterator[ast.Call]:
    """Every call that writes an event."""
    for call in ast.walk(within):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "audit":
            yield call


def every_event() -> list[ast.Call]:
    return [call for function in functions() for call in events_written(function)]


def codes_in(expression: ast.expr) -> set[str]:
    """The whole texts an argument can be; one put together at run time is none."""
    if isinstance(expression, ast.JoinedStr):
        return set()
    constants = (found.value for found in ast.walk(expression) if isinstance(found, ast.Constant))
    return {constant for constant in constants if isinstance(constant, str)}


def test_every_action_and_object_of_an_event_has_a_word() -> None:
    actions = set().union(*(codes_in(call.args[0]) for call in every_event()))
    kinds = set().union(*(codes_in(call.args[1]) for call in every_event()))

    assert {"subject.randomised", "kit.rejected"} <= actions
    assert {code for code in actions if "." in code} <= {*ACTIONS_OF_TRIAL, *ACTIONS_OF_INSTALLATION}
    assert {"subject", "notice", "installation"} <= kinds <= set(OBJECTS)


def facts_in(function: ast.FunctionDef) -> set[str]:
    """The names of the facts of the events that a function writes, also of those gathered under a name before."""
    gathered = {
        assigned.targets[0].id: assigned.value
        for assigned in ast.walk(function)
        if isinstance(assigned, ast.Assign) and isinstance(assigned.targets[0], ast.Name)
    }
    facts: set[str] = set()
    for call in events_written(function):
        for argument in (*call.args[3:4], *(word.value for word in call.keywords if word.arg in {"before", "after"})):
            for part in ast.walk(argument):
                found = gathered.get(part.id) if isinstance(part, ast.Name) else part
                if isinstance(found, ast.Dict):
                    facts |= {str(key.value) for key in found.keys if isinstance(key, ast.Constant)}
    return facts


def test_every_fact_of_an_event_has_a_word() -> None:
    names = set().union(*map(facts_in, functions()))

    assert {"consent_on", "state", "possible_leak", "answers", "language"} <= names
    assert names <= set(FACTS)


def test_every_deed_has_a_word() -> None:
    deeds = {
        name
        for module in pkgutil.iter_modules(conduct.__path__, "rts.conduct.")
        for name, found in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
        if list(inspect.signature(found).parameters)[:3] == ["tx", "actor", "command"]
    }

    assert "randomise_subject" in deeds
    assert deeds <= set(DEEDS)


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.store)


def test_codes_are_put_into_words_in_the_language_of_the_reader(app: Flask) -> None:
    detail = {
        "gate": "ethics",
        "environment": "training",
        "outcomes": {"K100482": "damaged"},
        "opened": {"list": 3, "definition_version": 1},
        "adverse_event": False,
        "language": "zh_Hans",
        "deed": "hand_over",
        "code": "conflict",
        "kits": ["K100482", "K100491"],
        "arm": "ORVEN",
        "before": {"state": "assigned"},
        "after": {"state": "dispensed"},
    }

    with app.test_request_context(headers={"Accept-Language": "zh-CN"}):
        told = dict(facts_of(detail, SIRIUS))
        changed = changes_of(detail, SIRIUS)
        words = (action_word("check.run"), object_name("deed", "hand_over"), object_name("kit", "K100482"))

    assert told == {
        "启动条件": "伦理委员会批准",
        "系统类型": "培训",
        "到货情况": "K100482：破损",
        "打开的密封值": "列表条目：3；试验定义的限制部分：1",
        "不良事件": "否",
        "语言": "中文",
        "操作": "发放药盒",
        "代码": "已完成，或已被他人抢先",
        "药盒": "K100482、K100491",
        "治疗组": "ORVEN",
    }
    assert changed == [("状态", "已预留", "已发放")]
    assert words == ("核查已开始", "发放药盒", "K100482")


def test_a_code_without_a_word_is_shown_as_it_is(app: Flask) -> None:
    with app.test_request_context():
        assert action_word("moon.risen") == "moon.risen"
        assert fact_word("phase_of_moon") == "Phase of moon"
        assert facts_of({"gate": "pharmacy", "stratum": ""}, None) == [("Gate", "pharmacy")]
