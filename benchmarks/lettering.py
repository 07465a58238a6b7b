"""Writing in the pixels: how often it is flagged by size, ink and place, and how often films without any are."""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.data import SHARED
from overread.imaging import fonts
from overread.imaging.lettering import lettering

WORDS = ("DOE JOHN M 34Y", "SMITH, ANNA", "1234567", "12/03/1987", "PORTABLE AP", "St Mary Hosp", "Se 4 Im 18")
EACH = 40
INKS = {"white": 255, "grey (200)": 200, "black": 0}
PLACES = ("top left", "middle", "bottom right")


def measure() -> list[dict]:
    if not SHARED.is_dir():
        return [{"what": "skipped", "value": "the real images (../shared/data) are not on this machine"}]
    rng = np.random.default_rng(0)
    files = sorted((SHARED / "chest_xray").rglob("*.jpeg"))
    figures = []
    for name, pattern, most in (
        ("chest_xray", "*.jpeg", 1000),
        ("mammography", "*.png", 400),
        ("lung_ct", "*.png", 1100),
    ):
        some = sorted((SHARED / name).rglob(pattern))
        some = [some[i] for i in rng.permutation(len(some))[:most]]
        planes = [np.asarray(Image.open(f).convert("L")) for f in some]
        began = time.process_time()
        flagged = sum(bool(lettering(plane)) for plane in planes)
        each = (time.process_time() - began) / len(planes) * 1e3
        figures.append({"what": f"{name}: flagged, of {len(planes)} ({each:.1f} ms each)", "value": flagged})
    for size in (8, 10, 14, 20, 32):
        for ink, value in INKS.items():
            rates = []
            for place in PLACES:
                chosen = rng.choice(len(files), EACH, replace=False)
                rates.append(sum(bool(lettering(_written(files[i], size, value, place, rng))) for i in chosen) / EACH)
            told = ", ".join(f"{place} {rate:.0%}" for place, rate in zip(PLACES, rates, strict=True))
            figures.append({"what": f"chest film of 448², letters of {size} px, {ink}", "value": told})
    return figures


def _written(file, size: int, ink: int, place: str, rng: np.random.Generator) -> np.ndarray:
    """A chest film, twice as large, with a line of letters on it, as a JPEG of quality 85."""
    film = Image.open(file).convert("L")
    film = film.resize((film.width * 2, film.height * 2), Image.Resampling.BICUBIC)
    font, words = ImageFont.truetype(str(fonts.path(bool(rng.random() < 0.3))), size), str(rng.choice(WORDS))
    pen = ImageDraw.Draw(film)
    wide = pen.textlength(words, font=font)
    at = {
        "top left": (3, 2),
        "middle": ((film.width - wide) / 2, film.height / 2),
        "bottom right": (film.width - wide - 3, film.height - 1.4 * size),
    }
    pen.text(at[place], words, fill=ink, font=font)
    out = io.BytesIO()
    film.save(out, "jpeg", quality=85)
    return np.asarray(Image.open(out))
