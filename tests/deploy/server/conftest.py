"""A server on this machine, with real sockets, shared by the tests of this folder."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from numclip_lightning.deploy.server.limits import Limits
from support.predictors import tiny_predictor

EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx")
LIMITS = Limits(max_bytes=3_000_000, max_pixels=2_000_000, max_files=8, max_seconds=3.0, max_queue=16, decoders=1)
KEY = "secret"


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    """The address of a server of a tiny model, ready to answer."""
    for name in EXTRA:
        pytest.importorskip(name, reason="the extra serve is not installed")
    import uvicorn

    from numclip_lightning.deploy.server.app import build_app

    app: Any = build_app(tiny_predictor(), LIMITS, KEY)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while not (server.started and getattr(app.state, "ready", False)):
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive(), "the server did not end"
