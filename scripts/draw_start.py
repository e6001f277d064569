"""Draw docs/index/steps.svg: what the small CLIP in the package answers for three generated scenes, step by step.

python scripts/draw_start.py [FILE]
"""

import base64
import io
import sys
from html import escape
from pathlib import Path

from PIL import Image

from numclip_lightning import OrdinalPredictor
from numclip_lightning.deploy.prediction import Prediction

REPOSITORY = Path(__file__).parents[1]
SCENES = ("docs/explain/few.png", "docs/deploy/scene.png", "docs/explain/crowd.png")
_WIDTH, _ROW, _TOP = 760, 178, 46
_BLUE, _RED, _GREY, _INK = "#3f6fb5", "#b4380f", "#5b6472", "#1b2330"


def picture(scenes: list[tuple[Path, Prediction]]) -> str:
    """Return the drawing as SVG: a row for each scene, with its phrases and its number.

    Args:
        scenes: Images and what was read from them.
    """
    height = _TOP + _ROW * len(scenes)
    heads = ((20, "an image"), (190, "1. which phrase fits?"), (520, "2. which number?"))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="14" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{height}" rx="10" fill="#ffffff"/>',
        *(f'<text x="{x}" y="30" font-weight="600">{head}</text>' for x, head in heads),
    ]
    for row, (image, answer) in enumerate(scenes):
        parts.append(f'<g transform="translate(0 {_TOP + row * _ROW})">{_row(image, answer)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _row(image: Path, answer: Prediction) -> str:
    """Return one scene: its picture, a bar for each phrase, and the number on the scale."""
    parts = [f'<image x="20" y="6" width="146" height="146" href="{_embedded(image)}"/>']
    for place, (phrase, share) in enumerate(answer.probabilities.items()):
        y = 18 + place * 21
        weight = "600" if phrase == answer.most_probable else "400"
        parts += [
            f'<text x="190" y="{y}" font-size="13" font-weight="{weight}">{escape(phrase)}</text>',
            f'<rect x="325" y="{y - 10}" width="120" height="11" rx="2" fill="#e8ecf2"/>',
            f'<rect x="325" y="{y - 10}" width="{120 * share:.1f}" height="11" rx="2" fill="{_BLUE}"/>',
            f'<text x="452" y="{y}" font-size="12" fill="{_GREY}">{share:.0%}</text>',
        ]
    unit = f'<tspan dx="8" font-size="14" font-weight="400" fill="{_GREY}">{escape(answer.unit)}</tspan>'
    parts.append(f'<text x="520" y="48" font-size="34" font-weight="700">{answer.value:.1f}{unit}</text>')
    return "".join([*parts, *_line(answer)])


def _line(answer: Prediction, least: float = 1, most: float = 60) -> list[str]:
    """Return the scale with the number and its interval."""

    def at(value: float) -> float:
        return 520 + 210 * (value - least) / (most - least)

    parts = ['<rect x="520" y="84" width="210" height="4" rx="2" fill="#d5dbe4"/>']
    spread = answer.spread or 0.0
    low, high = max(least, answer.value - spread), min(most, answer.value + spread)
    return [
        *parts,
        f'<rect x="{at(low):.1f}" y="80" width="{at(high) - at(low):.1f}" height="12" rx="3" fill="#f0c9b8"/>',
        f'<rect x="{at(answer.value) - 1.5:.1f}" y="74" width="3" height="24" fill="{_RED}"/>',
        f'<text x="520" y="114" font-size="12" fill="{_GREY}">{least:.0f}</text>',
        f'<text x="730" y="114" font-size="12" fill="{_GREY}" text-anchor="end">{most:.0f}</text>',
        f'<text x="520" y="136" font-size="12" fill="{_GREY}">± {spread:.1f}, one standard deviation</text>',
    ]


def _embedded(image: Path) -> str:
    """Return a thumbnail as an address that holds it."""
    buffer = io.BytesIO()
    with Image.open(image) as opened:
        opened.convert("RGB").resize((192, 192)).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def main() -> None:
    """Read the three scenes and write the drawing."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "index" / "steps.svg"
    predictor = OrdinalPredictor.load("mini")
    images = [REPOSITORY / name for name in SCENES]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(picture([(image, predictor(str(image))) for image in images]), encoding="utf-8")
    print(f"{file} is written.")


if __name__ == "__main__":
    main()
