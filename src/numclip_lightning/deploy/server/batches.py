"""Batches over a short window: images of several requests share one run of the model."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.server.limits import Limits, Refusal

__all__ = ["Batches"]

_Waiting = tuple[str, Tensor, "asyncio.Future[Prediction]"]


class Batches:
    """The queue before the model; it has an end, beyond which images are refused.

    Args:
        predictor: The model.
        limits: The window, the batch and the end of the queue.
        on_batch: Called with the size of each batch.
    """

    def __init__(self, predictor: OrdinalPredictor, limits: Limits, on_batch: Callable[[int], None]) -> None:
        self._predictor, self._limits, self._on_batch = predictor, limits, on_batch
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "numclip-model")
        self.promised = 0

    def reserve(self, number: int) -> None:
        """Take places in the queue for images that are still to be decoded.

        Raises:
            Refusal: With 429, if there are not so many.
        """
        if self.promised + number > self._limits.max_queue:
            raise Refusal(429, f"{self.promised} images wait already; try again in a moment")
        self.promised += number

    def release(self, number: int) -> None:
        """Give places back."""
        self.promised -= number

    async def predict(self, name: str, image: Tensor) -> Prediction:
        """Return the prediction of an image, when its batch has been run."""
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((name, image, future))
        return await future

    async def run(self) -> None:
        """Run batches until cancelled."""
        while True:
            batch = [await self._queue.get()]
            if self._queue.qsize() + 1 < self._limits.batch_size:
                await asyncio.sleep(self._limits.window)
            while len(batch) < self._limits.batch_size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            wanted = [one for one in batch if not one[2].done()]
            if wanted:
                self._on_batch(len(wanted))
                await self._answer(wanted)

    async def _answer(self, batch: list[_Waiting]) -> None:
        names, images, futures = zip(*batch, strict=True)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, self._predict, list(names), torch.stack(images))
        except Exception as error:  # noqa: BLE001 (each request gets an answer, and the loop goes on)
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, prediction in zip(futures, found, strict=True):
            if not future.done():
                future.set_result(prediction)

    def _predict(self, names: list[str], images: Tensor) -> list[Prediction]:
        return self._predictor.predictions(images, names)

    def stop(self) -> None:
        """End the thread of the model."""
        self._thread.shutdown(wait=True)
