"""The application: its addresses, its key, its metrics, and what happens at start and end."""

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException

import numclip_lightning
from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.server.answers import Answer, Problem, State, answer_of
from numclip_lightning.deploy.server.batches import Batches
from numclip_lightning.deploy.server.decoding import Decoders
from numclip_lightning.deploy.server.limits import Limits, Refusal
from numclip_lightning.deploy.server.reading import FIELDS, File, read_files

__all__ = ["build_app"]

_log = logging.getLogger(__name__)

_OPEN = ("/", "/health", "/ready")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "One image or several: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF.",
                        }
                    },
                }
            }
        },
    }
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is broken.",
        401: "The key is missing or wrong.",
        408: "The request came too slowly.",
        413: "Too many bytes or files.",
        415: "It is no multipart/form-data.",
        422: "No image could be read.",
        429: "Too many images wait.",
        503: "The server is starting.",
    }.items()
}


class _Meters:
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


def build_app(
    predictor: OrdinalPredictor, limits: Limits | None = None, key: str = "", origins: tuple[str, ...] = ()
) -> FastAPI:
    """Build the application.

    Args:
        predictor: The model.
        limits: The most of everything.
        key: What requests must have in the header `X-API-Key`; empty asks for none.
        origins: Other web sites whose pages may ask (CORS); none by default.
    """
    limits, meters = limits or Limits(), _Meters()
    batches = Batches(predictor, limits, meters.batch.observe)
    page, policy = _page()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.decoders = decoders = Decoders(predictor.recipe, limits)
        app.state.ready = False

        async def get_ready() -> None:
            app.state.ready = await asyncio.to_thread(decoders.wait)

        tasks = [asyncio.create_task(batches.run()), asyncio.create_task(get_ready())]
        try:
            yield
        finally:
            # The server has answered all requests by now.
            for task in tasks:
                task.cancel()
            decoders.stop()
            batches.stop()

    app = FastAPI(
        title=f"numclip: {predictor.config['method']}",
        description=f"Numbers from images, on a scale of {predictor.scale.describe()}.",
        version=numclip_lightning.__version__,
        lifespan=life,
    )
    if origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        given, path = request.headers.get("x-api-key", ""), request.url.path
        if (
            key
            and path not in _OPEN
            and request.method != "OPTIONS"
            and not hmac.compare_digest(given.encode(), key.encode())
        ):
            answer: Response = _problem(401, "the header X-API-Key is missing or wrong")
        else:
            answer = await go_on(request)
        known = path if path in {getattr(route, "path", "") for route in app.routes} else "other"
        meters.requests.labels(known, str(answer.status_code)).inc()
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        return answer

    @app.exception_handler(Refusal)
    async def refuse(_: Request, error: Refusal) -> Response:
        return _problem(error.status, error.reason)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        _log.error("a request failed", exc_info=error)
        return _problem(500, "the server failed over this request; its log says why")

    async def one(file: File) -> Prediction | str:
        try:
            image = await asyncio.to_thread(app.state.decoders.decode, file.content)
        except Refusal as error:
            return error.reason
        return await batches.predict(file.name, image)

    @app.post("/predict", responses=_REFUSALS, openapi_extra=_BODY, summary="Predict one image or several.")
    async def predict(request: Request) -> Answer:
        """Each file of the field `file` is answered in its place; 422 if none of them could be read."""
        if not app.state.ready:
            raise Refusal(503, "the server is starting; ask /ready")
        sent = await read_files(request, limits)
        start = time.perf_counter()
        batches.reserve(len(sent))
        meters.waiting.set(batches.promised)
        try:
            found = await asyncio.gather(*map(one, sent))
        finally:
            batches.release(len(sent))
            meters.waiting.set(batches.promised)
        bad = [reason for reason in found if isinstance(reason, str)]
        meters.images.labels("predicted").inc(len(found) - len(bad))
        meters.images.labels("refused").inc(len(bad))
        if len(bad) == len(found):
            raise Refusal(422, f"{sent[0].name}: {bad[0]}" + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""))
        seconds = time.perf_counter() - start
        meters.seconds.observe(seconds)
        answers = [answer_of(file.name, result) for file, result in zip(sent, found, strict=True)]
        return Answer(predictions=answers, seconds=seconds)

    @app.get("/health", summary="Whether the server lives.")
    async def health() -> State:
        return State(status="alive")

    @app.get("/ready", summary="Whether it can answer.", responses={503: {"model": State}})
    async def ready(response: Response) -> State:
        if not app.state.ready:
            response.status_code = 503
        return State(status="ready" if app.state.ready else "starting")

    @app.get("/metrics", summary="Counters in Prometheus' format.", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/model", summary="The card: scale, preprocessing, training, errors.")
    async def model() -> dict[str, Any]:
        return {**predictor.config, "scale": predictor.scale.to_dict(), "fields": list(FIELDS)}

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    return app


def _problem(status: int, reason: str) -> JSONResponse:
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": reason}, status, headers)


def _page() -> tuple[str, str]:
    """Return the page and the policy that lets it run its own script and style, and nothing else."""
    page = (files("numclip_lightning.deploy.server") / "page.html").read_text(encoding="utf-8")
    own = {}
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        own[tag] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{own['script']}'; style-src 'sha256-{own['style']}'; "
        "img-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy
