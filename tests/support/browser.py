"""A headless Chromium on this machine, driven through its own protocol over pipes; no library is needed."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A tab.

    Args:
        out: The pipe that Chromium reads.
        back: The pipe that it writes.
    """

    def __init__(self, out: BinaryIO, back: BinaryIO) -> None:
        self._out, self._in = out, back
        self._number, self._session = 0, ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Page.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> bytes:
        found = bytearray()
        while (letter := self._in.read(1)) != b"\0":
            assert letter, "the browser ended"
            found += letter
        return bytes(found)

    def value(self, script: str) -> Any:
        """Return what an expression gives in the page."""
        return self("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Return what an expression gives as soon as it is something."""
        end = time.monotonic() + seconds
        while not (found := self.value(script)):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.1)
        return found

    def drop(self, file: Path, x: int, y: int) -> None:
        """Drag a file from the desktop to a place and drop it."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def picture(self, file: Path, width: int, height: int) -> None:
        """Write a screenshot as PNG."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        file.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Start a browser whose profile is in a folder; end it afterwards."""
    theirs_in, sending = os.pipe()
    receiving, theirs_out = os.pipe()
    words = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe",
    ]  # fmt: skip
    # It uses the descriptors 3 and 4.
    command = ["bash", "-c", f"exec {shlex.join(words)} 3<&{theirs_in} 4>&{theirs_out}"]
    process = subprocess.Popen(
        command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    with os.fdopen(sending, "wb") as out, os.fdopen(receiving, "rb") as back:
        try:
            yield Page(out, back)
        finally:
            process.kill()
            process.wait()
