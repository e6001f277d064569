"""The Hub, as far as its client can be asked without a network: a stand-in on this machine keeps what is pushed."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.errors import ConfigError
from support.model_hub import NO_ANSWER, point_hub_to
from support.predictors import random_images, tiny_predictor

SHA = "a" * 40


class StandIn(BaseHTTPRequestHandler):
    """The part of a hub that pushing and fetching a model uses."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/owner/dots", "id": "owner/dots"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            self.answer({"files": [{**one, "uploadMode": "regular", "shouldIgnore": False} for one in asked]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"http://{self.headers['Host']}/owner/dots/commit/{SHA}", "commitOid": SHA})
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/owner/dots/tree/"):
            self.answer(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": SHA}
                    for name, content in self.files.items()
                ]
            )
        elif self.path.startswith("/api/models/owner/dots"):
            self.answer({"id": "owner/dots", "sha": SHA, "siblings": [{"rfilename": name} for name in self.files]})
        elif self.path.startswith("/owner/dots/resolve/") and (name := self.path.rpartition("/")[2]) in self.files:
            self.answer(self.files[name], ETag=f'"{name}"', **{"X-Repo-Commit": SHA})
        else:
            self.send_error(404)

    def answer(self, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A hub that is empty; what it keeps."""
    StandIn.files.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    point_hub_to(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache", monkeypatch)
    yield StandIn.files
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_predictor_that_is_pushed_can_be_fetched_by_name(hub: dict[str, bytes], tmp_path: Path) -> None:
    tiny_predictor().push_to_hub("owner/dots", token="made-up")
    assert sorted(hub) == ["README.md", "config.json", "model.safetensors"]
    assert "ordinal-regression" in hub["README.md"].decode()
    images = random_images(3)
    expected = [one.value for one in tiny_predictor()(images)]
    for fetched in (OrdinalPredictor.load("owner/dots"), OrdinalPredictor.from_pretrained("owner/dots")):
        assert [one.value for one in fetched(images)] == pytest.approx(expected, abs=1e-6)


def test_a_hub_that_does_not_answer_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_hub_to(NO_ANSWER, tmp_path / "cache", monkeypatch)
    with pytest.raises(ConfigError, match="owner/dots is no folder here, and can't be fetched from the Hub"):
        OrdinalPredictor.load("owner/dots")
