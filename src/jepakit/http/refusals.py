"""What a service answers where it does not do what it is asked, as its OpenAPI description says it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

#: Texts of answers that name no cause of their own.
MESSAGES = {
    400: "the body cannot be read",
    404: "no such path; /openapi.json lists the paths",
    405: "this path does not support the method; /openapi.json lists the methods",
    500: "the server failed; its log says how",
}
_DESCRIPTIONS = {
    400: MESSAGES[400],
    404: "no such path",
    409: "a model or an index is missing, is damaged or does not fit",
    413: "the body is too long, or of unknown length",
    422: "the request is invalid",
    500: MESSAGES[500],
    503: "too many requests at once",
}


class ErrorReply(BaseModel):
    """Why a request was refused."""

    error: str


def refusals(*, token: bool) -> dict[int | str, dict[str, Any]]:
    """The refusals that every route has in the OpenAPI description; ``token``: one is required."""
    gate = {401: "the token is missing or wrong"} if token else {403: "Host or Origin names another machine"}
    described = sorted({**_DESCRIPTIONS, **gate}.items())
    return {status: {"model": ErrorReply, "description": text} for status, text in described}
