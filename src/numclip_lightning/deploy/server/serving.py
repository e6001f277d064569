"""How uvicorn serves the application: bounded in connections, and in how long they may hold a place."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from numclip_lightning.deploy.server.limits import Limits

__all__ = ["options_of"]


def options_of(limits: Limits) -> dict[str, Any]:
    """Return the arguments of `uvicorn.Config` that keep to the limits."""
    return {
        "http": _protocol(limits.max_seconds), "ws": "none", "log_level": "warning", "server_header": False,
        "limit_concurrency": limits.max_connections, "timeout_keep_alive": 15, "timeout_graceful_shutdown": 30,
    }  # fmt: skip


def _protocol(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol, which closes connections that only hold a place.

    uvicorn waits for ever for the first request of a connection, for the rest of its headers, and for the rest of a
    body that was refused: whoever opens as many as there may be, and says nothing, keeps all others out.

    Args:
        seconds: How long a connection may be without a request that is being answered; at most twice that passes.
    """

    class Impatient(H11Protocol):
        """Looks now and then whether a new request has begun."""

        _seen: Any = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Begin to look."""
            super().connection_made(transport)
            self._next = self.loop.call_later(seconds, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            """Look no more."""
            self._next.cancel()
            super().connection_lost(exc)

        def _look(self) -> None:
            # None before the first request.
            if self.cycle is self._seen and (self.cycle is None or self.cycle.response_complete):
                # Not `close`, which waits until the other side has read everything.
                self.transport.abort()
                return
            self._seen = self.cycle
            self._next = self.loop.call_later(seconds, self._look)

    return Impatient
