"""Escape in JSON what a terminal obeys: `curl` prints a response as it is."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vmpooler_tasks.model.names import escaped_json


class PrintableJson:
    """Sends each response of JSON in one message without a character that is not printable.

    A parser reads the same values. Responses of other types and streams pass unchanged: exports escape their lines.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def send_printable(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_json(message):
                start = message  # its Content-Length depends on the body
                return
            if start is not None:
                held, start = start, None
                if not message.get("more_body"):
                    message["body"] = _printable(message.get("body", b""))
                    MutableHeaders(scope=held)["content-length"] = str(len(message["body"]))
                await send(held)
            await send(message)

        await self._app(scope, receive, send_printable)


def _is_json(start: Message) -> bool:
    return MutableHeaders(scope=start).get("content-type", "").partition(";")[0].endswith("json")


def _printable(body: bytes) -> bytes:
    if body.isascii() and b"\x7f" not in body:  # what is below U+0020 is escaped in every JSON
        return body
    return escaped_json(body.decode()).encode()
