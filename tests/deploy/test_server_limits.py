"""What requests may take of a server's memory together, without a server."""

import asyncio
from typing import Any

import pytest

from numclip_lightning.deploy.server.limits import Held, Limits, Refusal

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("python_multipart", reason="the extra serve is not installed")

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
LIMITS = Limits(max_bytes=1000, max_held=1500)


def sent(size: int, go_on: asyncio.Event | None = None) -> Any:
    """A request with an image of some bytes, which waits before its end."""
    from fastapi import Request

    parts = [HEAD + bytes(size), b"\r\n--b--\r\n"]

    async def receive() -> dict[str, Any]:
        if len(parts) == 1 and go_on:
            await go_on.wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def size_of(held: Held, request: Any) -> int:
    from numclip_lightning.deploy.server.reading import read_files

    with held.request() as take:
        (file,) = await read_files(request, LIMITS, take)
        return len(file.content)


def test_requests_are_bounded_together() -> None:
    async def ask() -> None:
        held, go_on = Held(LIMITS.max_held), asyncio.Event()
        first = asyncio.create_task(size_of(held, sent(850, go_on)))
        while held.total < 850:
            await asyncio.sleep(0)
        # Alone it may have as many bytes; beside the first, it may not.
        with pytest.raises(Refusal, match="too many bytes are being read already") as refused:
            await size_of(held, sent(850))
        assert refused.value.status == 429
        assert await size_of(held, sent(100)) == 100
        go_on.set()
        assert await first == 850
        assert held.total == 0
        assert await size_of(held, sent(850)) == 850

    asyncio.run(ask())


def test_one_that_is_refused_or_goes_away_gives_its_bytes_back() -> None:
    async def ask() -> None:
        held = Held(LIMITS.max_held)
        with pytest.raises(Refusal, match="more than 1000 bytes"):
            await size_of(held, sent(2000))
        waiting = asyncio.create_task(size_of(held, sent(850, asyncio.Event())))
        while held.total < 850:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert held.total == 0

    asyncio.run(ask())
