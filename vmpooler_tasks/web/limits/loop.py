"""The event loop of the web process."""

import asyncio
from typing import Any

HANDSHAKE_SECONDS = 10.0
TLS_SHUTDOWN_SECONDS = 30.0
"""How long a client of TLS may take for what is left of a response when the connection ends."""


class WebLoop(asyncio.SelectorEventLoop):
    """Give a client HANDSHAKE_SECONDS for the handshake of TLS. Uvicorn has no option for it, and asyncio's is 60 s."""

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl"):
            options["ssl_handshake_timeout"], options["ssl_shutdown_timeout"] = HANDSHAKE_SECONDS, TLS_SHUTDOWN_SECONDS
        return await super().create_server(*arguments, **options)
