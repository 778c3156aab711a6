"""Errors as an OpenAI client expects them: a status and ``{"error": {message, type, param, code}}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from diffucode.errors import ServeError

TYPES = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class Failure(ServeError):
    """A request that gets no answer. ``param`` is the field at fault, ``code`` a word for programs."""

    def __init__(
        self,
        message: str,
        status: int = HTTPStatus.BAD_REQUEST,
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.param = param
        self.code = code

    def to_json(self) -> dict[str, Any]:
        """The body of the response."""
        kind = TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """When to come again, where that may help."""
        return {"Retry-After": "1"} if self.status in (429, 503) else {}


def ending() -> Failure:
    """The server is on its way out."""
    return Failure(
        "the server is shutting down; ask another one, or this one again later",
        HTTPStatus.SERVICE_UNAVAILABLE,
        code="shutting_down",
    )
