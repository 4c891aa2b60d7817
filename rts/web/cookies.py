"""The cookies of this service, and what protects them.

Over TLS a name begins with `__Host-`: a browser takes such a cookie from this very host alone, over TLS alone, so that
nobody on a neighbouring host, or in between on a plain connection, can plant a session or a form's token.
"""

from __future__ import annotations

from flask import current_app, request
from werkzeug.wrappers import Response

SESSION = "rts_session"
SIGN_IN = "rts_sign_in"
LANGUAGE = "rts_language"


def is_over_tls() -> bool:
    """Whether people reach this service over TLS: as the connection says, and always behind the TLS proxy."""
    return request.is_secure or bool(current_app.config["BEHIND_PROXY"])


def name_of(cookie: str) -> str:
    """The name under which a browser holds `cookie`."""
    return f"__Host-{cookie}" if is_over_tls() else cookie


def kept(cookie: str) -> str:
    """What the browser holds as `cookie`; empty for none."""
    return request.cookies.get(name_of(cookie), "")


def keep(response: Response, cookie: str, value: str, max_age: int | None = None) -> None:
    """Let the browser hold `value`, out of reach of scripts; without `max_age` (seconds) until it is closed."""
    response.set_cookie(
        name_of(cookie), value, max_age=max_age, httponly=True, samesite="Lax", secure=is_over_tls(), path="/"
    )


def forget(response: Response, cookie: str) -> None:
    """Let the browser forget `cookie`."""
    response.delete_cookie(name_of(cookie), httponly=True, samesite="Lax", secure=is_over_tls(), path="/")
