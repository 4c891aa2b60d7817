"""`rts supply`: resupply decisions on plain data, for a second programmer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rts.cli.door import Group, OfflineCommand, show_json
from rts.cli.files import read_json
from rts.supply.evaluate import evaluate as evaluate_cases


@click.group(cls=Group)
def supply() -> None:
    """Supply decisions."""


@supply.command("evaluate", cls=OfflineCommand)
@click.argument("cases", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the decisions as JSON.")
def evaluate(cases: Path, as_json: bool) -> None:
    """Decide resupply for every case in the JSON file CASES (- for standard input)."""
    answers: list[dict[str, Any]] = evaluate_cases(read_json(cases))
    if as_json:
        show_json(answers)
        return
    for number, answer in enumerate(answers, start=1):
        click.echo(str(answer.get("name", f"case {number}")))
        for kit_type, line in answer["per_type"].items():
            fires = "fires" if line["fires"] else "does not fire"
            click.echo(
                f"  {kit_type}: usable {line['usable']}, trigger {line['trigger_level']}, level "
                f"{line['resupply_level']}, {fires}, need {line['need']}, order {answer['order'].get(kit_type, 0)}"
            )
