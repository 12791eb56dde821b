"""Tables and HTML reports."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from nha.core.html_report import Section, write_report
from nha.core.tables import Table

GREY = np.full((8, 8, 3), 200, np.uint8)


def test_table_as_text_is_aligned():
    text = Table(
        ("metric", "train"),
        [("psnr", 31.25), ("frames", 12), ("ms_ssim", None), ("lpips", float("nan"))],
        digits=1,
    ).as_text()
    assert text.splitlines() == [
        "metric   train",
        "--------------",
        "psnr      31.2",
        "frames      12",
        "ms_ssim      -",
        "lpips        -",
    ]


def test_all_texts_of_a_report_are_escaped(tmp_path):
    evil = '<b onclick="x">&\''
    section = Section(
        title=f"title {evil}",
        text=f"text {evil}",
        points=[f"point {evil}"],
        tables=[Table((f"header {evil}",), [(f"cell {evil}",)])],
        charts=[(f"chart {evil}", GREY)],
        images=[(f"image {evil}", GREY)],
        videos=[(f"video {evil}", tmp_path / f"v{evil.replace('/', '')}.mp4")],
    )
    page = write_report(tmp_path / "report.html", f"page {evil}", [section]).read_text("utf-8")

    class Collector(HTMLParser):
        texts, tags = "", ()

        def handle_data(self, data):
            self.texts += data

        def handle_starttag(self, tag, attributes):
            self.tags += (tag,)

    found = Collector()
    found.feed(page)
    assert "b" not in found.tags
    for name in ("page", "title", "text", "point", "header", "cell", "image", "video"):
        assert f"{name} {evil}" in found.texts
    assert evil not in page


def test_images_are_embedded_and_videos_linked_relatively(spaced_dir):
    (spaced_dir / "videos").mkdir()
    video = spaced_dir / "videos" / "all frames.mp4"
    section = Section("s", charts=[("c", GREY)], images=[("an image", GREY)], videos=[("a video", video)])
    path = write_report(spaced_dir / "report.html", "Title", [section])
    page = path.read_text("utf-8")
    jpeg = re.search(r'<img src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)" alt="an image">', page)
    png = re.search(r'<img src="data:image/png;base64,([A-Za-z0-9+/=]+)" alt="c">', page)
    for match in (jpeg, png):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(match[1]), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == GREY.shape
        assert np.abs(decoded.astype(int) - GREY).max() <= 2
    assert '<video src="videos/all%20frames.mp4"' in page
    assert str(spaced_dir) not in page
    assert [p.name for p in spaced_dir.iterdir() if p.is_file()] == ["report.html"]


def test_elements_that_are_empty_leave_no_markup(tmp_path):
    page = write_report(tmp_path / "r.html", "t", [Section("only a title")]).read_text("utf-8")
    body = page[page.index("<body>") :]
    assert not re.search(r"<(p|ul|table|figure|div)\b", body)


def test_an_image_of_wrong_shape_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        write_report(tmp_path / "r.html", "t", [Section("s", images=[("i", np.zeros((4, 4), np.uint8))])])
    assert not list(tmp_path.iterdir())


def test_importing_the_module_loads_neither_jinja2_nor_torch():
    code = "import sys, nha.core.html_report; assert not {'jinja2', 'torch', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
