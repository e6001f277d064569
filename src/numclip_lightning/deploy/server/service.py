"""What the addresses of the server share: the model, its queue, the decoders and the counters."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.server.answers import Answer, answer_of
from numclip_lightning.deploy.server.batches import Batches
from numclip_lightning.deploy.server.decoding import Decoders
from numclip_lightning.deploy.server.limits import Held, Limits, Refusal
from numclip_lightning.deploy.server.reading import File, read_files

__all__ = ["Meters", "Service"]


class Meters:
    """What `/metrics` has."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        keep = self.registry
        self.requests = Counter("numclip_requests_total", "Requests by answer.", ["path", "status"], registry=keep)
        self.images = Counter("numclip_images_total", "Images by outcome.", ["outcome"], registry=keep)
        self.seconds = Histogram("numclip_request_seconds", "Time of a request for predictions.", registry=keep)
        self.batch = Histogram(
            "numclip_batch_images", "Images of a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=keep
        )
        self.waiting = Gauge("numclip_waiting_images", "Images that wait or are computed.", registry=keep)


class Service:
    """Predictions for requests.

    Args:
        predictor: The model.
        limits: The most of everything.

    Attributes:
        meters: The counters.
    """

    def __init__(self, predictor: OrdinalPredictor, limits: Limits) -> None:
        self.predictor, self.limits, self.meters = predictor, limits, Meters()
        self._held = Held(limits.max_held)
        self._batches = Batches(predictor, limits, self.meters.batch.observe)

    @asynccontextmanager
    async def life(self, app: FastAPI) -> AsyncIterator[None]:
        """Start decoders and queue; end them when the server has answered all requests.

        `app.state.ready` says whether requests can be answered.
        """
        self._decoders = decoders = Decoders(self.predictor.recipe, self.limits)
        app.state.ready = False

        async def get_ready() -> None:
            app.state.ready = await asyncio.to_thread(decoders.wait)

        tasks = [asyncio.create_task(self._batches.run()), asyncio.create_task(get_ready())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            decoders.stop()
            self._batches.stop()

    async def answer(self, request: Request) -> Answer:
        """Predict the images of a request, each in its place.

        Raises:
            Refusal: If it is broken, too large or too slow, too much or too many images wait, or none can be read.
        """
        with self._held.request() as take:
            return await self._answer(await read_files(request, self.limits, take))

    async def _answer(self, sent: list[File]) -> Answer:
        start = time.perf_counter()
        found = await self._predict(sent)
        bad = [reason for reason in found if isinstance(reason, str)]
        self.meters.images.labels("predicted").inc(len(found) - len(bad))
        self.meters.images.labels("refused").inc(len(bad))
        if len(bad) == len(found):
            raise Refusal(422, f"{sent[0].name}: {bad[0]}" + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""))
        seconds = time.perf_counter() - start
        self.meters.seconds.observe(seconds)
        answers = [answer_of(file.name, result) for file, result in zip(sent, found, strict=True)]
        return Answer(predictions=answers, seconds=seconds)

    async def _predict(self, sent: list[File]) -> list[Prediction | str]:
        self._batches.reserve(len(sent))
        self.meters.waiting.set(self._batches.promised)
        try:
            return await asyncio.gather(*map(self._one, sent))
        finally:
            self._batches.release(len(sent))
            self.meters.waiting.set(self._batches.promised)

    async def _one(self, file: File) -> Prediction | str:
        """Return the prediction of an image, or why there is none."""
        try:
            image = await asyncio.to_thread(self._decoders.decode, file.content)
        except Refusal as error:
            return error.reason
        return await self._batches.predict(file.name, image)
