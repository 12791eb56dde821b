"""A report as one HTML file: pictures are inside, videos are named relative to it."""

from __future__ import annotations

import base64
import html
import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nha.core.system import atomic_path
from nha.evaluation.tables import Table

JPEG_QUALITY = 88

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #222; }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1em 0; }
figure img, figure video { max-width: 100%; border: 1px solid #e4e4e4; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26em, 1fr)); gap: 1em; }
figcaption { color: #666; font-size: 90%; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a report: text, points of a list, tables, charts (<svg> elements), then pictures (uint8 [H, W, 3]) and
    videos (files) with their captions.
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[tuple[str, np.ndarray]] = ()
    videos: Sequence[tuple[str, Path]] = ()
    points: Sequence[str] = ()
    charts: Sequence[str] = ()


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the report, atomically; returns its path."""
    path = Path(path)
    body = "\n".join(_section(section, path.parent) for section in sections)
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _section(section: Section, folder: Path) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.points:
        parts.append("<ul>" + "".join(f"<li>{html.escape(point)}</li>" for point in section.points) + "</ul>")
    parts += [table.as_html() for table in section.tables]
    if section.charts:
        parts.append('<div class="charts">' + "\n".join(section.charts) + "</div>")
    parts += [_figure(f'<img src="{_data_uri(picture)}">', caption) for caption, picture in section.pictures]
    parts += [
        _figure(f'<video src="{_link(video, folder)}" controls loop muted></video>', caption)
        for caption, video in section.videos
    ]
    return "\n".join(parts)


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _link(target: Path, folder: Path) -> str:
    return html.escape(urllib.parse.quote(Path(os.path.relpath(target, folder)).as_posix()))


def _data_uri(picture: np.ndarray) -> str:
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"cannot encode a picture of shape {list(picture.shape)} as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
