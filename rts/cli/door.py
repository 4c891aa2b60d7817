"""What every command shares: where the installation is, how a refusal becomes an exit code, and how it is shown."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import click
import structlog
from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from rts.entropy import SystemEntropy
from rts.refusal import Refusal, refuse, say
from rts.settings import Settings
from rts.unexpected import places_of

# Docs: docs/commands.md. A program that calls `rts` tells the kinds of failure apart by these; they never change.
EXIT_CODES = {
    "invalid": 3,
    "rule": 4,
    "conflict": 5,
    "not_found": 6,
    "forbidden": 7,
    "wrong_password": 8,
    "unavailable": 9,
}
FOUND_WRONG = 1
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
STOPPED = 130  # as a shell reports Ctrl-C

_PLACES = ("database", "keyring", "lists")


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta[f"rts.{option.name}"] = value


def _place_options(*, hidden: bool) -> list[click.Option]:
    texts = {
        "database": ("ADDRESS", "sqlite:///FILE or postgresql://USER@HOST/NAME. Default: RTS_DATABASE."),
        "keyring": ("FILE", "The keyring of the installation. Default: RTS_KEYRING."),
        "lists": ("FOLDER", "The folder of the sealed lists. Default: RTS_LISTS."),
    }
    return [
        click.Option(
            [f"--{name}"],
            metavar=metavar,
            help=text,
            type=str if name == "database" else click.Path(path_type=Path),
            callback=_keep,
            expose_value=False,
            hidden=hidden,
        )
        for name, (metavar, text) in texts.items()
    ]


class Command(click.Command):
    """A command on an installation: takes --database, --keyring and --lists, which `settings` reads."""

    needs_installation = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        own = {parameter.name for parameter in self.params}
        places = _place_options(hidden=not self.needs_installation)
        self.params += [place for place in places if place.name not in own]


class OfflineCommand(Command):
    """A command that needs no installation. It takes the same three options, so that a script may pass them to every
    command.
    """

    needs_installation = False


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command
    group_class = type


class Door(Group):
    """The outermost group: no refusal and no error passes it as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and turn what it raises into words and an exit code."""
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            say_refusal(refusal)
            raise click.exceptions.Exit(EXIT_CODES[refusal.code]) from None
        except OperationalError:
            # Only where a command reaches the database outside a transaction; inside, the store has its own words.
            say_refusal(_no_answer())
            raise click.exceptions.Exit(EXIT_CODES["unavailable"]) from None
        except (KeyboardInterrupt, click.Abort):
            click.echo("Stopped.", err=True)
            raise click.exceptions.Exit(STOPPED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            _say_unexpected(error)
            raise click.exceptions.Exit(UNEXPECTED) from None


def _no_answer() -> Refusal:
    return refuse(
        "unavailable",
        "database.unreachable",
        say("The database does not answer. Check its address, and that it runs and lets this user in."),
        "database",
    )


def say_refusal(refusal: Refusal) -> None:
    """Print every failed rule on stderr: the sentence, and in brackets the rule and the field."""
    for failed in refusal.failed:
        about = f"{failed.rule}, {failed.field}" if failed.field else failed.rule
        click.echo(f"{failed.message} [{about}]", err=True)


def _say_unexpected(error: Exception) -> None:
    """Show a reference number. The log has the places the error passed, never a value: one may be an arm or a key."""
    reference = SystemEntropy().bytes(4).hex()
    log = structlog.get_logger("rts.cli")
    log.error("unexpected", reference=reference, kind=type(error).__name__, at=places_of(error))
    click.echo(
        f"An unexpected error stopped this command; what it had begun was rolled back. Tell the operator the "
        f"reference {reference}.",
        err=True,
    )


def given(place: str) -> Any:
    """What the command line gives for `database`, `keyring` or `lists`; None when it leaves that to the settings."""
    return click.get_current_context().meta.get(f"rts.{place}")


def sqlite_file(address: str) -> Path | None:
    """The file of a SQLite address; None for another database. Raises Refusal for what is no address."""
    try:
        url = make_url(address)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in {"sqlite", "postgresql"}:
        message = say("The database address must begin with sqlite:/// or postgresql://.")
        raise refuse("invalid", "database.address", message, "database")
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def settings() -> Settings:
    """The settings with what the command line says in place of the environment.

    What it leaves out lies beside what it names: the keyring and the lists beside a SQLite database, the lists beside
    the keyring. Raises Refusal for a wrong variable.
    """
    named = {place: given(place) for place in _PLACES if given(place) is not None}
    file = sqlite_file(named["database"]) if "database" in named else None
    if file is not None:
        named["home"] = file.parent
    elif "keyring" in named:
        named["home"] = named["keyring"].parent
    own_lists = file.parent / f"{file.stem}-allocation_lists" if file is not None else None
    if own_lists is not None and own_lists.is_dir():
        # Several databases in one folder, as rehearsals leave them, have lists of their own.
        named.setdefault("lists", own_lists)
    try:
        return Settings(**named)
    except ValidationError as error:
        wrong = ", ".join(sorted(f"RTS_{problem['loc'][0]}".upper() for problem in error.errors()))
        message = say("These settings cannot be used: %(names)s. See docs/configuration.md.", names=wrong)
        raise refuse("invalid", "settings.value", message) from None


def show_json(value: object) -> None:
    """Print a JSON value on stdout, for programs."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
