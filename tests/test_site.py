"""The site of all pages, as `make docs` builds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the site is built with the extra docs")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True,
    )  # fmt: skip
    return folder


def test_the_site_holds_every_page_and_what_is_exported(site: Path) -> None:
    for page in ("", "refine", "train", "trust", "speed", "models", "examples/FORMATS", "models/LOG", "CONTRIBUTING"):
        assert (site / page / "index.html").is_file(), page
    import bpr_cli

    api = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="bpr_cli.{name}"' in api for name in bpr_cli.__all__)


def test_no_page_loads_anything_from_another_server(site: Path) -> None:
    loading = re.compile(r'<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//|<link[^>]*\shref="(?:https?:)?//')
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert not loading.search(page.read_text(encoding="utf-8")), page
