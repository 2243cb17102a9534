"""Errors as OpenAI's API gives them: a status code, and one JSON object that says what and why."""

from typing import Any

from starlette.responses import JSONResponse

from mgie.errors import ImageError, MGIEError, SafetyError

CLIENT_LEFT = 499
"""Status that is counted, never sent: there is nobody to read it."""


class APIError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP's status code.
        message: one line: what came, what was expected.
        code: short name of the problem, for programs.
        param: field of the form that it is about.
        headers: to send with the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = headers

    def response(self) -> JSONResponse:
        """Returns the answer."""
        body: dict[str, Any] = {
            "message": self.message,
            "type": _kind(self.status),
            "param": self.param,
            "code": self.code,
        }
        return JSONResponse({"error": body}, self.status, self.headers)


def api_error(error: MGIEError, param: str | None = None) -> APIError:
    """Returns what a client is told of a mistake that mgie found."""
    message = " ".join(str(error).split())
    if isinstance(error, SafetyError):
        return APIError(400, message, "content_policy_violation", param)
    return APIError(
        400, message, "invalid_image" if isinstance(error, ImageError) else "invalid_value", param
    )


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
