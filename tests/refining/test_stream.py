"""Work ahead of the caller, in order and bounded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bpr_cli.refining.stream import map_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(threads):
    with ThreadPoolExecutor(threads) as pool:
        assert list(map_ahead(pool, lambda x: x * x, range(50), 5)) == [x * x for x in range(50)]


def test_no_more_than_asked_is_begun_ahead():
    begun = []
    with ThreadPoolExecutor(1) as pool:
        results = map_ahead(pool, begun.append, range(100), 4)
        next(results)
        assert len(begun) <= 4


def test_no_more_weight_than_allowed_is_begun_ahead_but_a_single_item_may_exceed_it():
    begun, taken = [], []
    with ThreadPoolExecutor(1) as pool:
        for item in map_ahead(
            pool, lambda item: item, [3, 1, 2, 9, 1, 1], 4, weigh=lambda i: begun.append(i) or i, most=5
        ):
            taken.append(item)
            # What was weighed last waits for room.
            assert sum(begun[len(taken) : -1]) <= 5
    assert taken == [3, 1, 2, 9, 1, 1]


def test_a_failure_reaches_the_caller_and_drops_what_waits():
    release = threading.Event()

    def work(item):
        if item == 0:
            raise ValueError("broken")
        release.wait(5)
        return item

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="broken"):
            list(map_ahead(pool, work, range(10), 5))
        release.set()
