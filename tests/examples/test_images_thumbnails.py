"""The thumbnail example really draws, and what it records is what happened."""

from __future__ import annotations

import asyncio

import pytest
from images_thumbnails import __main__ as program
from images_thumbnails import drawing, service, studio

import whence
from whence import images


@pytest.fixture(autouse=True)
def loopback(monkeypatch, home):
    """No key, so that nothing leaves the machine, and a home of the test's own."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    whence.configure(home)
    yield
    whence.configure(home, enabled=False)


def make(*pages: str) -> list[studio.Thumbnail]:
    with service.serving() as url:
        return asyncio.run(studio.make(pages, base_url=url, api_key="loopback"))


def test_a_picture_survives_its_file():
    """What is written as PNG is read back, and inverting twice changes nothing."""
    rows = drawing.draw("the with statement", 7, 32, 18)

    assert drawing.from_png(drawing.to_png(rows)) == rows
    assert drawing.invert(drawing.invert(rows)) == rows
    assert drawing.draw("another text", 7, 32, 18) != rows


@pytest.mark.parametrize(
    "image", [b"", b"GIF89a", drawing.SIGNATURE, drawing.SIGNATURE + b"x" * 40]
)
def test_only_what_was_drawn_here_is_read(image):
    """Anything else is refused."""
    with pytest.raises(Exception, match=r"no PNG|drawn here|decompress|incomplete"):
        drawing.from_png(image)


def test_thumbnails_are_made_and_one_is_refined(home):
    """The last image is the first one inverted, and linked to it."""
    made = make("with", "yield")

    first, _, refined = made
    assert [one.page for one in made] == ["with", "yield", "with"]
    assert drawing.from_png(refined.image) == drawing.invert(drawing.from_png(first.image))
    found = images.get_generation_provenance(refined.provenance_id)
    assert found.insight_type == "image_refinement"
    with whence.open(home) as store:
        lineage = store.lineage(found.insight_id, "ancestors")
    assert "enhancement_of" in {edge.kind for edge in lineage.edges}


def test_what_the_policy_forbids_is_recorded_as_refused():
    """The page is left out, and its record says why."""
    (refused,) = make("exec")

    assert refused.image == b""
    assert "PROHIBITED_CONTENT" in refused.problem
    assert images.get_generation_provenance("failed_page-exec").error_type == "content_policy"


def test_the_program_reports_what_it_recorded(home, tmp_path, capsys):
    """All pages at once meet the rate limit, and still come through."""
    assert program.main(["--home", str(home), "--into", str(tmp_path / "images")]) == 0

    told = capsys.readouterr().out
    total = images.image_metrics().total
    written = sorted((tmp_path / "images").glob("*.png"))
    assert f"{total.generations} generations, {total.failed} failed" in told
    assert total.generations == len(studio.PAGES) + 1
    assert total.failed >= 2
    assert len(written) == total.generations - total.failed
    with whence.open(home) as store:
        assert store.count("events", 'level = "warning"') > 0
