"""How much a server answers, and whether its memory grows: the figures of docs/deploy.md.

python scripts/load_server.py MODEL [REQUESTS]

Starts `numclip serve --model MODEL`, asks it with 1, 8 and 64 clients at once (a generated scene in each request), then
REQUESTS times (10,000) with 8 clients while its memory is read, and compares with a plain loop over the predictor.
Clients and server share the machine.
"""

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import local

import numpy as np
from PIL import Image

from numclip_lightning.data import CountingDataModule
from numclip_lightning.deploy import OrdinalPredictor

CLIENTS = (1, 8, 64)
PER_LEVEL = 640
SAMPLES = 10
_BOUNDARY = "numclip-load"


def scenes(number: int = 64) -> list[bytes]:
    """Return generated scenes as PNG."""
    found = []
    for pixels in CountingDataModule(num_test=number).dataset("test").pixels.numpy():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


class Client:
    """Asks a server; each thread keeps one connection."""

    def __init__(self, port: int) -> None:
        self.port, self._own = port, local()

    def ask(self, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Return the status and the answer."""
        if not hasattr(self._own, "line"):
            self._own.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} if body else {}
        self._own.line.request("POST" if body else "GET", path, body or None, headers)
        answer = self._own.line.getresponse()
        return answer.status, answer.read()

    def predict(self, image: bytes) -> tuple[float, bool]:
        """Return the seconds of a request, and whether it was answered with a number."""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        start = time.perf_counter()
        status, answer = self.ask("/predict", head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode())
        is_good = status == 200 and json.loads(answer)["predictions"][0]["value"] is not None
        return time.perf_counter() - start, is_good


def wait(port: int) -> None:
    """Wait until the server can answer."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        with suppress(OSError):
            if Client(port).ask("/ready")[0] == 200:
                return
        time.sleep(0.2)
    raise SystemExit("the server did not start")


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def megabytes(process: int) -> float:
    """Return the resident memory of a process and its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    fields = (Path(f"/proc/{number}/status").read_text().split("VmRSS:")[1] for number in [process, *children])
    return sum(int(text.split()[0]) for text in fields) / 1e3


def load(port: int, images: Sequence[bytes], clients: int, requests: int) -> tuple[float, list[float], int]:
    """Return the seconds of many requests, those of each, and how many were answered."""
    client = Client(port)
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda i: client.predict(images[i % len(images)]), range(requests)))
    return time.perf_counter() - start, [seconds for seconds, _ in found], sum(good for _, good in found)


def plain_loop(model: str, images: Sequence[bytes]) -> float:
    """Return the images per second of a loop that asks the predictor for one after the other."""
    predictor = OrdinalPredictor.load(model)
    predictor(images[0])
    start = time.perf_counter()
    for i in range(PER_LEVEL):
        predictor(images[i % len(images)])
    return PER_LEVEL / (time.perf_counter() - start)


def main(model: str, requests: str = "10000") -> None:
    """Measure and print."""
    images, port, total = scenes(), free_port(), int(requests)
    print(f"plain loop over the predictor: {plain_loop(model, images):.0f} images a second\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "numclip_lightning", "serve", f"--model={model}", f"--port={port}"]
    )
    try:
        wait(port)
        print("| clients | requests per second | p50 (ms) | p99 (ms) | answered |\n| --- | --- | --- | --- | --- |")
        for clients in CLIENTS:
            seconds, times, answered = load(port, images, clients, PER_LEVEL)
            middle, late = np.percentile(times, [50, 99]) * 1e3
            print(f"| {clients} | {PER_LEVEL / seconds:.0f} | {middle:.0f} | {late:.0f} | {answered} of {PER_LEVEL} |",
                  flush=True)  # fmt: skip
        print(f"\nload of the machine: {os.getloadavg()[0]:.1f}; memory of the server and its decoders (MB):")
        sizes, answered = [megabytes(server.pid)], 0
        for _ in range(SAMPLES):
            answered += load(port, images, 8, total // SAMPLES)[2]
            sizes.append(megabytes(server.pid))
            print(f"  after {answered} requests: {sizes[-1]:.0f}", flush=True)
        print(f"{answered} of {total} answered; from {sizes[0]:.0f} to {sizes[-1]:.0f} MB")
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
