"""The server: the predictor's numbers, many at once, refusals with a reason, and whatever strangers send."""

import io
import os
import re
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from numclip_lightning.deploy.server.limits import Limits
from support.browser import CHROMIUM, browser
from support.predictors import random_images, tiny_predictor

pytestmark = pytest.mark.usefixtures("address")
httpx = pytest.importorskip("httpx", reason="the extra serve is not installed")

KEY = {"X-API-Key": "secret"}


EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx")
LIMITS = Limits(max_bytes=3_000_000, max_pixels=2_000_000, max_files=8, max_seconds=3.0, max_queue=16, decoders=1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a server of a tiny model, ready to answer."""
    for name in EXTRA:
        pytest.importorskip(name, reason="the extra serve is not installed")
    import uvicorn

    from numclip_lightning.deploy.server.app import build_app
    from numclip_lightning.deploy.server.serving import options_of

    app: Any = build_app(tiny_predictor(), LIMITS, KEY["X-API-Key"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options_of(LIMITS)))
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


def encoded(image: Image.Image, kind: str = "PNG", **arguments: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **arguments)
    return buffer.getvalue()


def is_cut_off(line: socket.socket) -> bool:
    """Send one more byte; return whether nobody takes it any longer."""
    time.sleep(0.2)
    try:
        line.sendall(b"x")
    except ConnectionError:
        return True
    return False


def plain(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def post(address: str, *files: tuple[str, bytes], field: str = "file", **arguments: Any) -> Any:
    sent = [(field, (name, content, "application/octet-stream")) for name, content in files]
    return httpx.post(f"{address}/predict", files=sent, headers=KEY, timeout=60, **arguments)


GOOD = encoded(plain())
JPEG = encoded(plain(size=(200, 100)), "JPEG")
# Name: content, and whether it is an image after all.
HOSTILE: dict[str, tuple[bytes, bool]] = {
    "empty": (b"", False),
    "one byte": (b"\xff", False),
    "text": (b"hello", False),
    "html as jpeg": (b"<html><script>alert(1)</script></html>", False),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', False),
    "eps, which calls another program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", False),
    "pdf": (b"%PDF-1.4\n", False),
    "elf": (b"\x7fELF" + bytes(200), False),
    "zip": (b"PK\x03\x04" + bytes(200), False),
    "pickle": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", False),
    "noise": (np.random.default_rng(0).bytes(5000), False),
    "jpeg cut short": (JPEG[: len(JPEG) // 2], False),
    "jpeg of a header": (JPEG[:40], False),
    "png cut short": (GOOD[:60], False),
    "png of 30,000 x 30,000": (png(30_000, 30_000, zlib.compress(bytes(1000))), False),
    "png of 2^31 - 1": (png(2**31 - 1, 1, b""), False),
    "png of 0 x 0": (png(0, 0, b""), False),
    "png with a text bomb": (
        png(40, 30, b"", png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))),
        False,
    ),
    "png with more data than pixels": (png(1, 1, zlib.compress(bytes(2_000_000))), True),
    "png with a wrong checksum": (GOOD[:40] + b"\0\0\0\0" + GOOD[44:], False),
    "gif of 65,535 x 65,535": (b"GIF89a\xff\xff\xff\xff\x00\x00\x00;", False),
    "bmp with a negative size": (b"BM" + bytes(12) + struct.pack("<IiiHH", 40, -5, -5, 1, 24) + bytes(24), False),
    "tiff whose directory is itself": (b"II*\0\x08\0\0\0\x01\0\0\1\3\0\1\0\0\0\1\0\0\0\x08\0\0\0", False),
    "tiff of floating point": (encoded(plain("F"), "TIFF"), False),
    "1 x 1": (encoded(plain(size=(1, 1))), True),
    "1 x 5,000": (encoded(plain(size=(1, 5000))), True),
    "cmyk": (encoded(plain("CMYK"), "JPEG"), True),
    "16 bits": (encoded(plain("I;16")), True),
    "palette with transparency": (encoded(plain("P"), transparency=0), True),
    "animated": (encoded(plain(), "GIF", save_all=True, append_images=[plain(), plain()]), True),
    "jpeg with broken EXIF": (encoded(plain(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), True),
    "jpeg and a tail": (JPEG + b"<?php system($_GET[0]); ?>", True),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_sent_is_answered_with_a_reason(name: str, address: str) -> None:
    content, is_image = HOSTILE[name]
    answer = post(address, ("image.jpg", content))
    if is_image:
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"].startswith("image.jpg: ")
        assert "Traceback" not in answer.text
        assert answer.json()["error"].count("can't read the image") <= 1
        # Words for people, not the name of an exception.
        assert re.search(r"\w(Error|Exception)\b", answer.json()["error"]) is None, answer.text
        assert " at 0x" not in answer.text
    assert post(address, ("good.png", GOOD)).status_code == 200


class TestRequests:
    def test_many_files_are_answered_in_their_places(self, address: str) -> None:
        images = random_images(3)
        sent = [(f"{i}.png", encoded(Image.fromarray(image))) for i, image in enumerate(images)]
        answer = post(address, sent[0], ("bad.png", b"bad"), *sent[1:]).json()["predictions"]
        assert [one["source"] for one in answer] == ["0.png", "bad.png", "1.png", "2.png"]
        assert "can't read the image" in answer[1]["error"]
        expected = [one.value for one in tiny_predictor()(images)]
        assert [answer[i]["value"] for i in (0, 2, 3)] == pytest.approx(expected, abs=1e-5)
        assert answer[0]["probabilities"].keys() == {"hardly any", "many"}

    def test_names_lead_nowhere(self, address: str) -> None:
        for name, clean in (("../../etc/passwd", "passwd"), ("C:\\a\\b.png", "b.png"), ("x\x1b[31m.png", "x?[31m.png")):
            answer = post(address, (name, GOOD)).json()
            assert answer["predictions"][0]["source"] in (clean, name.replace("\x1b", "%1B"))

    @pytest.mark.parametrize(
        ("arguments", "status", "reason"),
        [
            ({"files": {"picture": ("a.png", GOOD)}}, 422, "no file in the field 'file'; it has 'picture'"),
            ({"data": {"file": "text"}}, 415, "multipart/form-data"),
            ({"json": {"url": "http://localhost/a.png"}}, 415, "multipart/form-data"),
            ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 400, "Missing boundary"),
            ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, ""),
            ({"files": [("file", (f"{i}.png", GOOD)) for i in range(9)]}, 413, "Too many files"),
            ({"files": [("file", (f"{i}", b"")) for i in range(10_000)]}, 413, "Too many files"),
            ({"files": {"file": ("a.png", bytes(4_000_000))}}, 413, "more than 3000000 bytes"),
        ],
        ids=["wrong field", "form", "url", "no boundary", "broken", "9 files", "10,000 parts", "4 MB"],
    )
    def test_a_request_that_is_refused_says_why(
        self, arguments: dict[str, Any], status: int, reason: str, address: str
    ) -> None:
        headers = {**KEY, **arguments.pop("headers", {})}
        answer = httpx.post(f"{address}/predict", headers=headers, timeout=60, **arguments)
        assert answer.status_code == status, answer.text
        assert reason in answer.json()["error"]

    def test_a_slow_sender_is_cut_off_and_a_closed_connection_costs_nothing(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        head = (
            "POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\nContent-Length: 1000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=30) as gone:
            gone.sendall(head.encode())
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(head.encode())
            assert b"408" in slow.recv(100)
        assert post(address, ("good.png", GOOD)).status_code == 200

    @pytest.mark.parametrize(
        "said", ["", "GET /health HTTP/1.1\r\nHost: x\r\n", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"]
    )
    def test_a_connection_that_asks_nothing_more_is_closed(self, said: str, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as idle:
            idle.sendall(said.encode())
            began, answer = time.monotonic(), b""
            with suppress(ConnectionError):
                while part := idle.recv(1000):
                    answer += part
        assert LIMITS.max_seconds - 0.5 <= time.monotonic() - began < 20
        assert answer.startswith(b"HTTP/1.1 200" if said.endswith("\r\n\r\n") else b"")

    def test_who_goes_on_with_a_refused_body_is_cut_off(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: secret\r\nContent-Length: 100000\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(head.encode())
            assert b"415" in slow.recv(100)
            assert any(is_cut_off(slow) for _ in range(100))

    def test_a_key_is_asked_for_where_it_matters(self, address: str) -> None:
        for path in ("/model", "/metrics", "/docs", "/openapi.json"):
            assert httpx.get(address + path).status_code == 401
            assert httpx.get(address + path, headers=KEY).status_code == 200
        assert httpx.post(f"{address}/predict", headers={"X-API-Key": "wrong"}).json()["error"].startswith("the header")
        assert httpx.get(f"{address}/health").json() == {"status": "alive"}
        assert httpx.get(f"{address}/ready").json() == {"status": "ready"}
        assert httpx.get(f"{address}/nowhere", headers=KEY).json() == {"error": "Not Found"}


class TestUnderLoad:
    def test_a_queue_that_is_full_answers_429_and_loses_nothing(self, address: str) -> None:
        sent = [(f"{i}.png", GOOD) for i in range(8)]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: post(address, *sent), range(12)))
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 429}
        assert 200 in statuses
        for answer in answers:
            if answer.status_code == 200:
                values = [one["value"] for one in answer.json()["predictions"]]
                assert max(values) - min(values) <= 1e-6 * 6
            else:
                assert answer.headers["Retry-After"] == "1"
        assert post(address, *sent).status_code == 200

    def test_a_decoder_that_dies_is_replaced(self, address: str) -> None:
        import multiprocessing

        before = [child for child in multiprocessing.active_children() if child.name == "numclip-decoder"]
        assert before
        for child in before:
            os.kill(child.pid or 0, signal.SIGKILL)
        time.sleep(0.2)
        answer = post(address, ("good.png", GOOD))
        assert answer.status_code == 422
        assert "the decoder stopped over this image" in answer.json()["error"]
        assert post(address, ("good.png", GOOD)).status_code == 200

    def test_counters_count(self, address: str) -> None:
        text = httpx.get(f"{address}/metrics", headers=KEY).text
        assert 'numclip_requests_total{path="/predict",status="200"}' in text
        assert "numclip_batch_images_bucket" in text


class TestWhatItDescribes:
    def test_openapi_has_examples_answers_and_the_body(self, address: str) -> None:
        described = httpx.get(f"{address}/openapi.json", headers=KEY).json()
        predict = described["paths"]["/predict"]["post"]
        assert "multipart/form-data" in predict["requestBody"]["content"]
        assert {"200", "400", "401", "408", "413", "415", "422", "429", "503"} <= set(predict["responses"])
        assert described["components"]["schemas"]["OnePrediction"]["example"]["value"] == 31.4

    def test_the_page_needs_nothing_from_outside(self, address: str) -> None:
        answer = httpx.get(f"{address}/")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "http" not in answer.text
        assert httpx.get(f"{address}/model", headers=KEY).json()["scale"]["maximum"] == 6


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_an_image_that_is_dropped_is_read(address: str, tmp_path: Path) -> None:
    (pixels,) = random_images(1)
    file = tmp_path / "noise.png"
    Image.fromarray(pixels).save(file)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with browser(tmp_path) as page:
        page("Page.navigate", url=address)
        # The server asks for a key, and so does the page; typed, not set.
        page.wait_for("document.getElementById('key-row') && !document.getElementById('key-row').hidden")
        page.value("document.getElementById('key').focus()")
        page("Input.insertText", text="secret")
        page.value("document.getElementById('key').blur()")
        page.wait_for("document.getElementById('about').textContent.includes('0 to 6')")
        page.drop(file, 200, 150)
        shown = page.wait_for("document.querySelector('.value')?.textContent")
        expected = tiny_predictor()(pixels)
        assert shown.split()[0] == f"{expected.value:.1f}"
        assert page.value("document.querySelectorAll('.scale span').length") == 2
        page.drop(bad, 200, 150)
        assert page.wait_for("document.querySelector('.bad .phrase')?.textContent").startswith("can't read the image: ")
        assert page.wait_for("!document.querySelector('.bad img')"), "the picture of nothing is still there"
        # Nothing is wider than a narrow window.
        page.picture(tmp_path / "narrow.png", 320, 900)
        assert page.value("document.documentElement.scrollWidth") <= 320
        # The keyboard reaches the choice of files: it can be focused, and it is not hidden from the order of tabs.
        page.value("document.getElementById('file').focus()")
        assert page.value("document.activeElement.id + document.activeElement.tabIndex") == "file0"
