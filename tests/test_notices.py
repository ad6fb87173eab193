"""What the user should know is said once, however many files it concerns."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from bpr_cli.notices import InputWarning, collected_warnings, notice_lines, warn_of_input


def test_warnings_of_all_threads_make_one_line_a_text():
    with collected_warnings() as found, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: warn_of_input("turned", f"photos/{number}.jpg"), range(9)))
        warn_of_input("soft", "m.png")
    assert notice_lines(found) == ["0.jpg, 1.jpg, 2.jpg and 6 more: turned", "m.png: soft"]


def test_other_warnings_are_shown_as_ever():
    with pytest.warns(DeprecationWarning, match="old"), collected_warnings() as found:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert found == []


def test_python_shows_a_text_once_without_collecting(recwarn):
    warnings.simplefilter("default", InputWarning)
    for number in range(3):
        warn_of_input("turned by this test", f"{number}.jpg")
    assert len([item for item in recwarn if item.category is InputWarning]) == 1
