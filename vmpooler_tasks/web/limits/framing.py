"""Decide where a request ends, and refuse a request where two programs could see different ends."""

from http import HTTPStatus

import h11

MAX_HEAD_BYTES = 64 * 1024
"""The maximum of a request line with its headers. The longest query that the API takes fits."""

MAX_CHUNKS = 1000
"""Chunks of one body. Each costs the event loop as much as thousands of bytes, however small it is."""


class StrictFraming(h11.Connection):
    """Parse requests like h11, with more refusals. What is refused is in `refusal`, and nothing more is parsed.

    h11 accepts `Content-Length` beside `Transfer-Encoding`, chunks for HTTP/1.0, other versions, any number of chunks,
    and heads of any length that come at once.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.refusal: h11.RemoteProtocolError | None = None
        self._chunks = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event of the client. After a refusal, return NEED_DATA only."""
        if self.refusal is not None:
            return h11.NEED_DATA
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._check_head(event)
            elif isinstance(event, h11.Data):
                self._count_chunk(event)
        except h11.RemoteProtocolError as error:
            self.refusal = error
            return h11.NEED_DATA
        return event

    def _check_head(self, request: h11.Request) -> None:
        self._chunks = 0
        if request.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("HTTP/1.1 is spoken here", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        if size > MAX_HEAD_BYTES:  # h11 checks only heads that come in several pieces
            raise h11.RemoteProtocolError("the head is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        names = {name for name, _ in request.headers}
        if b"transfer-encoding" not in names:
            return
        if b"content-length" in names:
            raise h11.RemoteProtocolError("Content-Length beside Transfer-Encoding")
        if request.http_version < b"1.1":
            raise h11.RemoteProtocolError("Transfer-Encoding needs HTTP/1.1")

    def _count_chunk(self, data: h11.Data) -> None:
        self._chunks += data.chunk_start
        if self._chunks > MAX_CHUNKS:
            too_many = f"a body may have at most {MAX_CHUNKS} chunks"
            raise h11.RemoteProtocolError(too_many, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
