"""Reports as a single HTML file: images are embedded, videos are linked relative to the file."""

from __future__ import annotations

import base64
import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nha.core.system import atomic_path
from nha.core.tables import Table

if TYPE_CHECKING:
    import numpy as np

JPEG_QUALITY = 88
TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Section:
    """A section of a report; its elements are shown in the order of the attributes.

    All images are RGB, uint8 [H, W, 3].

    Attributes:
        title: heading.
        text: a paragraph.
        points: items of a list.
        tables: tables.
        charts: descriptions and images of charts, shown beside each other and stored without loss (PNG).
        images: captions and images, shown below each other and stored as JPEG.
        videos: captions and files of videos.
        links: descriptions and files that are linked.
    """

    title: str
    text: str = ""
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[tuple[str, np.ndarray]] = ()
    images: Sequence[tuple[str, np.ndarray]] = ()
    videos: Sequence[tuple[str, Path]] = ()
    links: Sequence[tuple[str, Path]] = ()


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a report, atomically.

    Args:
        path: the HTML file.
        title: title and first heading.
        sections: the sections in their order. All texts are escaped.

    Returns:
        The path of the report.

    Raises:
        ValueError: if an image is not uint8 [H, W, 3].
    """
    import jinja2  # only when a report is written: importing it takes as long as parsing a command line

    path = Path(path)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nha.core", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        title=title,
        sections=sections,
        jpeg=_jpeg_uri,
        png=_png_uri,
        link=lambda target: _relative_url(target, path.parent),
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(page.encode("utf-8", "backslashreplace"))  # names of files may be no UTF-8
    return path


def _relative_url(target: Path, folder: Path) -> str:
    return urllib.parse.quote(os.fsencode(Path(os.path.relpath(target, folder)).as_posix()))


def _jpeg_uri(rgb: np.ndarray) -> str:
    import cv2

    return _data_uri(rgb, "jpeg", (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def _png_uri(rgb: np.ndarray) -> str:
    return _data_uri(rgb, "png")


def _data_uri(rgb: np.ndarray, kind: str, options: Sequence[int] = ()) -> str:
    import cv2

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != "uint8":
        raise ValueError(f"an image must be uint8 [H, W, 3], got {rgb.dtype} {list(rgb.shape)}")
    _, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return f"data:image/{kind};base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
