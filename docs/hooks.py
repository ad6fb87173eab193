"""What the site is made of: pages that stand where people look for them in the repository, not copies in docs/."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/*.md", "examples/*.md", "models/**/*.md")
SHOWN = (
    "examples/*.jpg",
    "examples/from_*.py",
    "examples/benchmarks/*.png",
    "models/**/*.jpg",
    "models/**/*.csv",
    "LICENSE",
    "CITATION.cff",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link to the repository if pyproject.toml names it, so that its address stands in one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if source := project.get("urls", {}).get("Source"):
        # Not as `repo_url`: the theme would have each reader's browser ask GitHub for the number of stars.
        config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": source, "name": "Source"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages, and what they show, from the repository under the paths that they have there."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for pattern in (*PAGES, *SHOWN):
        for path in sorted(ROOT.glob(pattern)):
            uri = path.relative_to(ROOT).as_posix()
            files.append(File(uri, str(ROOT), config.site_dir, config.use_directory_urls, dest_uri=_address(uri)))
    return files


def _address(uri: str) -> str | None:
    """Where a guide page lies on the site: docs/refine.md at refine/. None: where mkdocs would put it."""
    if uri.startswith("docs/"):
        return f"{Path(uri).stem}/index.html"
    return None
