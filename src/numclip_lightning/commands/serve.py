"""`numclip serve`: a server of predictions."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from numclip_lightning.deploy.libraries import needs
from numclip_lightning.deploy.predictor import OrdinalPredictor, Precision
from numclip_lightning.deploy.server.limits import Limits

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_KEY = "NUMCLIP_API_KEY"


def serve(words: Sequence[str]) -> int:
    """Run `numclip serve --model DIR`.

    Args:
        words: The words after `numclip serve`.

    Returns:
        0 when it was asked to end and has answered what it had accepted.

    Raises:
        ConfigError: If the model can't be loaded, a limit is not positive, or a library is missing.
    """
    parser = ArgumentParser(
        prog="numclip serve",
        usage="numclip serve --model DIR [--host HOST] [--port PORT] [--KEY=VALUE]...",
        description=f"Answer requests for predictions. The environment variable {_KEY} is the key that they need; "
        "without it they need none. Only this machine is served unless --host=0.0.0.0 is given.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", type=str, required=True, help="An exported folder, a run folder or a checkpoint.")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="The address to listen at.")
    parser.add_argument("--port", type=int, default=8000, help="The port; 0 takes a free one.")
    parser.add_argument("--device", type=str, default="cpu", help="Where the model computes.")
    parser.add_argument("--precision", type=Precision, default="float32", help="Of the image tower.")
    parser.add_argument("--origins", type=list[str], default=[], help="Web sites whose pages may ask (CORS).")
    parser.add_class_arguments(Limits, "limits")
    chosen = parser.parse_args(list(words))
    limits = Limits(**chosen.limits.as_dict())
    predictor = OrdinalPredictor.load(
        chosen.model, device=chosen.device, precision=chosen.precision, batch_size=limits.batch_size
    )
    uvicorn, _, _, _ = needs("serve", "uvicorn", "fastapi", "python_multipart", "prometheus_client")
    from numclip_lightning.deploy.server.app import build_app
    from numclip_lightning.deploy.server.serving import options_of

    key = os.environ.get(_KEY, "")
    if not key and chosen.host not in ("127.0.0.1", "localhost", "::1"):
        _log.warning("%s is not set: everybody who reaches %s may ask", _KEY, chosen.host)
    app = build_app(predictor, limits, key, tuple(chosen.origins))
    _log.info("%s is served at http://%s:%d/", Path(chosen.model).name, chosen.host, chosen.port)
    uvicorn.run(app, host=chosen.host, port=chosen.port, **options_of(limits))
    return 0
