"""Reading the files of a request into memory, within limits; nothing is written to disk."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from numclip_lightning.deploy.server.limits import Limits, Refusal

__all__ = ["FIELDS", "File", "read_files"]

FIELDS = ("file", "files")
_NAME = 200


class File(NamedTuple):
    """An uploaded file.

    Attributes:
        name: Its name, without folders; only for the answer.
        content: Its bytes.
    """

    name: str
    content: bytes


async def read_files(request: Request, limits: Limits, take: Callable[[int], None]) -> list[File]:
    """Read the images of a request.

    Args:
        request: The request.
        limits: The most of everything.
        take: Called with the size of each part that arrives; refuses what is too much for all requests together.

    Raises:
        Refusal: If there are none, too many, too much, or they come too slowly.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(415, "send the images as multipart/form-data, in the field 'file'")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.max_bytes:
        raise _too_large(limits)
    parser = MultiPartParser(
        request.headers, _bounded(request, limits, take), max_files=limits.max_files, max_fields=8, max_part_size=10_000
    )
    # What is larger would go to a file on disk.
    parser.spool_max_size = limits.max_bytes + 1
    try:
        async with asyncio.timeout(limits.max_seconds):
            form = await parser.parse()
    except TimeoutError as error:
        raise Refusal(408, f"the request took more than {limits.max_seconds:g} seconds to arrive") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the connection was closed before the request was whole") from error
    except MultiPartException as error:
        raise Refusal(413 if "Too many" in error.message else 400, error.message) from error
    except (KeyError, ValueError) as error:
        raise Refusal(400, "the request is no whole multipart/form-data") from error
    try:
        found = [
            File(_clean(value.filename or ""), await value.read())
            for key, value in form.multi_items()
            if key in FIELDS and isinstance(value, UploadFile)
        ]
    finally:
        await form.close()
    if not found:
        fields = sorted({key for key, _ in form.multi_items()})
        sent = f"; it has {', '.join(map(repr, fields[:5]))}" if fields else ""
        raise Refusal(422, f"the request has no file in the field 'file'{_printable(sent)}")
    return found


async def _bounded(request: Request, limits: Limits, take: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limits.max_bytes:
            raise _too_large(limits)
        take(len(chunk))
        yield chunk


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the request has more than {limits.max_bytes} bytes; send fewer or smaller images")


def _clean(name: str) -> str:
    return _printable(name.replace("\\", "/").rpartition("/")[2])[:_NAME] or "image"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
