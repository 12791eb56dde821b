from __future__ import annotations

import re

import numpy as np

from nha.evaluation.report import Section, write_report
from nha.evaluation.tables import Table


def test_table_as_text_is_aligned():
    text = Table(
        ("metric", "train"), [("psnr", 31.25), ("frames", 12), ("ms_ssim", None)], digits=1
    ).as_text()
    assert text.splitlines() == [
        "metric   train",
        "--------------",
        "psnr      31.2",
        "frames      12",
        "ms_ssim      -",
    ]


def test_table_as_html_escapes():
    assert "<td>a &lt; b</td><td>1.50</td>" in Table(("x", "y"), [("a < b", 1.5)], digits=2).as_html()


def test_report_holds_its_pictures_and_links_videos_relatively(spaced_dir):
    (spaced_dir / "films").mkdir()
    film = spaced_dir / "films" / "all frames.mp4"
    picture = np.full((8, 8, 3), 200, np.uint8)
    section = Section(
        "A <section>", "text & more", [Table(("a",), [(1,)])], [("a picture", picture)], [("a film", film)]
    )
    path = write_report(spaced_dir / "report.html", "Title", [section])
    page = path.read_text("utf-8")
    assert "A &lt;section&gt;" in page
    assert "text &amp; more" in page
    assert re.search(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+">', page)
    assert '<video src="films/all%20frames.mp4"' in page
    assert str(spaced_dir) not in page
    assert [p.name for p in spaced_dir.iterdir() if p.is_file()] == ["report.html"]
