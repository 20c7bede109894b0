"""A reader who follows a link of ours arrives, at the section too."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
PAGES: Final = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*/README.md"))
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
LINK: Final = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING: Final = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, hyphens for spaces, counted when repeated."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(FENCED.sub("", markdown)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(page: Path, markdown: str) -> list[str]:
    """The relative links on `page` that lead nowhere."""
    missing = []
    for target, anchor in LINK.findall(FENCED.sub("", markdown)):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        text = markdown if file == page else file.read_text() if file.suffix == ".md" and file.exists() else ""
        if not file.exists() or (anchor and anchor not in anchors(text)):
            missing.append(f"{target}#{anchor}" if anchor else target)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text())


def test_a_link_to_a_section_that_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# The `first` [one](x)\n\n## Again\n\n## Again\n\n```\n# no heading\n```\n")
    text = (
        "# Here\n[a](other.md#the-first-one) [b](other.md#again-1) [c](#here) [d](https://x.example/y.md#z)\n"
        "[e](other.md#no-heading) [f](none.md) [g](#there) [h](other.md#again-2)\n"
    )
    page.write_text(text)
    assert broken(page, text) == ["other.md#no-heading", "none.md", "#there", "other.md#again-2"]
