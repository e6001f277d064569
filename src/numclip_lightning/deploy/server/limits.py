"""What a server takes, and how it refuses the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from numclip_lightning.errors import ConfigError

__all__ = ["Held", "Limits", "Refusal"]


class Refusal(Exception):  # noqa: N818 (an answer, not an error of the server)
    """A request that is refused.

    Args:
        status: The HTTP status.
        reason: What was wrong and what to do, for the sender.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most of everything.

    Args:
        max_bytes: Bytes of a request.
        max_held: Bytes of all requests that are being read or answered; what is more is answered with 429.
        max_pixels: Pixels of an image; larger ones are refused before they are decoded.
        max_files: Images of a request.
        max_seconds: Seconds that a request may take to arrive, and an image to be decoded. A connection that has begun
            no request for so long is closed.
        max_queue: Images that wait; more are answered with 429.
        max_connections: Connections at once; more are answered with 503.
        window: Seconds that an image waits for others to share its batch.
        batch_size: Images of a batch.
        decoders: Processes that decode.

    Raises:
        ConfigError: If one is not positive.
    """

    max_bytes: int = 20_000_000
    max_held: int = 400_000_000
    max_pixels: int = 50_000_000
    max_files: int = 32
    max_seconds: float = 20.0
    max_queue: int = 256
    max_connections: int = 1000
    window: float = 0.005
    batch_size: int = 32
    decoders: int = 2

    def __post_init__(self) -> None:
        """Check the numbers."""
        for one in fields(self):
            value = getattr(self, one.name)
            if not value > 0 and not (one.name == "window" and value == 0):
                raise ConfigError(f"{one.name}={value} must be greater than 0.")


class Held:
    """Counts the bytes of all requests that are in memory: each is bounded, and many at once are too.

    Args:
        most: The most of them.

    Attributes:
        total: How many there are now.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Yield what a request calls with the size of each part that it takes; give all of it back at its end."""
        own = 0

        def take(size: int) -> None:
            nonlocal own
            if self.total + size > self.most:
                raise Refusal(429, "too many bytes are being read already; try again in a moment")
            own += size
            self.total += size

        try:
            yield take
        finally:
            self.total -= own
