"""The web application: rooms of pages behind one gate."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, g
from flask_babel import Babel
from werkzeug.middleware.proxy_fix import ProxyFix

import rts
from rts.installation import follow_recorded_clock
from rts.store.transaction import Store
from rts.web import (
    accountability,
    accounts,
    audit,
    datamatrix,
    depot,
    dispensing,
    errors,
    frame,
    guard,
    headers,
    jobs,
    language,
    lists,
    own_key,
    receiving,
    rooms,
    sign_in,
    site,
    subjects,
    supply,
    temperatures,
    trial,
    unblinding,
    uploads,
    words,
)

LARGEST_FORM_BYTES = 2 * 1024 * 1024


def templates_folder() -> Path:
    """Where the templates are: inside the installed package, or at the top of a checkout."""
    packed = Path(rts.__file__).parent / "templates"
    return packed if packed.is_dir() else packed.parent.parent / "templates"


def create_app(store: Store, *, behind_proxy: bool = False) -> Flask:
    """The application on `store`."""
    app = Flask(
        "rts.web", template_folder=str(templates_folder()), static_folder=str(Path(rts.__file__).parent / "web/static")
    )
    app.request_class = uploads.RequestInMemory
    app.extensions["rts"] = store
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM_BYTES
    app.config["BEHIND_PROXY"] = behind_proxy
    app.jinja_options = {"autoescape": True, "trim_blocks": False}
    if behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]

    @app.before_request
    def _follow_clock() -> None:
        # Another process may have moved a training clock.
        follow_recorded_clock(store)

    guard.install(app)
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(Path(rts.__file__).parent / "translations")
    Babel(app, locale_selector=sign_in.choose_language)
    app.before_request(_choose_language)
    language.install(app)
    frame.install(app)
    headers.install(app)
    datamatrix.install(app)
    words.install(app)
    rooms.install(app)
    errors.install(app)
    for pages in ALL_PAGES:
        app.register_blueprint(pages)
    return app


def _choose_language() -> None:
    sign_in.choose_language()
    g.setdefault("language", "en")


ALL_PAGES = (
    jobs.pages,
    audit.pages,
    accounts.pages,
    unblinding.pages,
    sign_in.pages,
    lists.pages,
    own_key.pages,
    site.pages,
    subjects.pages,
    dispensing.pages,
    receiving.pages,
    accountability.pages,
    temperatures.pages,
    trial.pages,
    depot.pages,
    supply.pages,
)
