"""The application: its addresses, its key, and what it answers when something goes wrong."""

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import numclip_lightning
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.server.answers import Answer, Problem, State
from numclip_lightning.deploy.server.limits import Limits, Refusal
from numclip_lightning.deploy.server.reading import FIELDS
from numclip_lightning.deploy.server.service import Service

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
    service = Service(predictor, limits or Limits())
    app = FastAPI(
        title=f"numclip: {predictor.config['method']}",
        description=f"Numbers from images, on a scale of {predictor.scale.describe()}.",
        version=numclip_lightning.__version__,
        lifespan=service.life,
    )
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    _add_guard(app, service, key)
    _add_reasons(app)
    _add_predictions(app, service)
    _add_state(app, service)
    return app


def _add_guard(app: FastAPI, service: Service, key: str) -> None:
    """Ask for the key, and count every request."""

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        given, path = request.headers.get("x-api-key", ""), request.url.path
        # A browser asks by OPTIONS, without the key, whether it may ask with it.
        is_open = not key or path in _OPEN or request.method == "OPTIONS"
        if is_open or hmac.compare_digest(given.encode(), key.encode()):
            answer = await go_on(request)
        else:
            answer = _problem(401, "the header X-API-Key is missing or wrong")
        known = path if path in {getattr(route, "path", "") for route in app.routes} else "other"
        service.meters.requests.labels(known, str(answer.status_code)).inc()
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        return answer


def _add_reasons(app: FastAPI) -> None:
    """Answer whatever goes wrong with a reason as JSON."""

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


def _add_predictions(app: FastAPI, service: Service) -> None:
    """Add the address that predicts, and the page that asks it."""
    page, policy = _page()

    @app.post("/predict", responses=_REFUSALS, openapi_extra=_BODY, summary="Predict one image or several.")
    async def predict(request: Request) -> Answer:
        """Each file of the field `file` is answered in its place; 422 if none of them could be read."""
        if not app.state.ready:
            raise Refusal(503, "the server is starting; ask /ready")
        return await service.answer(request)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _add_state(app: FastAPI, service: Service) -> None:
    """Add the addresses that say how the server is, and what it serves."""

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
        return Response(generate_latest(service.meters.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/model", summary="The card: scale, preprocessing, training, errors.")
    async def model() -> dict[str, Any]:
        predictor = service.predictor
        return {**predictor.config, "scale": predictor.scale.to_dict(), "fields": list(FIELDS)}


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
