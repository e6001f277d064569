"""Decoding of strangers' images in processes of their own, which may die or hang without taking the server along."""

import io
import multiprocessing as mp
import queue
import threading
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.deploy.inputs import pixels_of
from numclip_lightning.deploy.recipe import Recipe
from numclip_lightning.deploy.server.limits import Limits, Refusal
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import UNREADABLE

__all__ = ["Decoders", "decode"]

# No format that calls another program (EPS), or that nobody sends.
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_READY = "ready"


@cache
def _known_kinds() -> list[str]:
    """Return the kinds that this Pillow was built with; one that it does not know would be an error of its own."""
    Image.init()
    return [kind for kind in KINDS if kind in Image.OPEN]


def decode(content: bytes, recipe: Recipe, max_pixels: int) -> Tensor:
    """Decode an image and make it as the model takes it, (3, side, side).

    Args:
        content: The encoded image.
        recipe: How images are made.
        max_pixels: The most pixels; the header is read first.

    Raises:
        DataError: If it is no image, is damaged, or is too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_known_kinds()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"the image has {width} x {height} pixels, more than {max_pixels}; make it smaller")
            return recipe(pixels_of(image, recipe.reading))
    except DataError:
        raise
    except UNREADABLE as error:
        if not content:
            raise DataError("the file is empty") from error
        reason = str(error).partition(" <_io.BytesIO")[0]
        raise DataError(f"can't read the image: {reason}") from error


def _work(connection: Connection, recipe: dict[str, Any], max_pixels: int) -> None:
    """Decode what arrives, in a process of its own, until the connection is closed."""
    torch.set_num_threads(1)
    known = Recipe.of(recipe)
    connection.send(_READY)
    while True:
        try:
            content = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            connection.send((True, decode(content, known, max_pixels).numpy()))
        except MemoryError:
            connection.send((False, "the image takes too much memory; make it smaller"))
        except Exception as error:  # noqa: BLE001 (whatever a decoder does, the sender gets an answer)
            known_reason = isinstance(error, DataError)
            connection.send((False, str(error) if known_reason else f"can't read the image: {type(error).__name__}"))


class _Worker:
    """One process, with the line to it."""

    def __init__(self, recipe: Recipe, limits: Limits) -> None:
        # Spawned: a forked process would inherit the threads' locks.
        context = mp.get_context("spawn")
        self.line, theirs = context.Pipe()
        arguments = (theirs, recipe.to_dict(), limits.max_pixels)
        self.process = context.Process(target=_work, args=arguments, daemon=True, name="numclip-decoder")
        self.process.start()
        theirs.close()
        self.is_ready = False

    def wait(self, seconds: float) -> bool:
        """Wait until it is ready; return whether it is."""
        with suppress(EOFError, OSError):
            if not self.is_ready and self.line.poll(seconds):
                self.is_ready = self.line.recv() == _READY
        return self.is_ready

    def stop(self) -> None:
        """End the process at once."""
        self.line.close()
        self.process.kill()
        self.process.join()


class Decoders:
    """A few processes that decode; one that dies or hangs is replaced.

    Args:
        recipe: How images are made.
        limits: The most pixels, seconds and processes.
    """

    # The libraries of a new process take seconds to import.
    start_seconds = 120.0

    def __init__(self, recipe: Recipe, limits: Limits) -> None:
        self._recipe, self._limits = recipe, limits
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        for _ in range(limits.decoders):
            self._add()

    def _add(self) -> None:
        worker = _Worker(self._recipe, self._limits)
        with self._lock:
            self._workers.append(worker)
        self._free.put(worker)

    def wait(self) -> bool:
        """Wait until one is ready; return whether it is."""
        worker = self._free.get()
        ready = worker.wait(self.start_seconds)
        self._free.put(worker)
        return ready

    def decode(self, content: bytes) -> Tensor:
        """Decode an image in the next free process; called from a thread.

        Args:
            content: The encoded image.

        Raises:
            Refusal: With 422, if it can't be decoded, or the process died or took too long over it.
        """
        worker = self._free.get()
        try:
            if not worker.wait(self.start_seconds):
                raise EOFError
            worker.line.send_bytes(content)
            if not worker.line.poll(self._limits.max_seconds):
                self._replace(worker)
                raise Refusal(422, f"the image took more than {self._limits.max_seconds:g} seconds to decode")
            good, answer = worker.line.recv()
        except (EOFError, OSError) as error:
            self._replace(worker)
            raise Refusal(422, "the decoder stopped over this image") from error
        self._free.put(worker)
        if not good:
            raise Refusal(422, answer)
        return torch.from_numpy(answer)

    def _replace(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.remove(worker)
        worker.stop()
        self._add()

    def stop(self) -> None:
        """End all processes."""
        with self._lock:
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
