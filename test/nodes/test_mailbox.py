"""One item at work, one waiting, the newest wins."""

from __future__ import annotations

import threading

from tao_anomaly.nodes.mailbox import Mailbox


def test_items_that_come_slowly_are_all_handled_in_order() -> None:
    handled: list[int] = []
    done = threading.Semaphore(0)

    def handle(item: int) -> None:
        handled.append(item)
        done.release()

    mailbox = Mailbox(handle)
    for item in range(50):
        assert not mailbox.put(item)
        assert done.acquire(timeout=60)
    mailbox.close()
    assert handled == list(range(50))
    assert mailbox.dropped == 0


def test_while_one_is_at_work_only_the_newest_waits() -> None:
    handled: list[int] = []
    at_work, go_on = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        at_work.set()
        assert go_on.wait(60)
        handled.append(item)

    mailbox = Mailbox(handle)
    mailbox.put(0)
    assert at_work.wait(60)
    assert [mailbox.put(item) for item in (1, 2, 3)] == [False, True, True]
    go_on.set()
    while len(handled) < 2:
        pass
    mailbox.close()
    assert handled == [0, 3]
    assert mailbox.dropped == 2


def test_closing_waits_for_the_item_at_work_and_drops_the_next() -> None:
    handled: list[int] = []
    at_work, go_on = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        at_work.set()
        assert go_on.wait(60)
        handled.append(item)

    mailbox = Mailbox(handle)
    mailbox.put(0)
    assert at_work.wait(60)
    mailbox.put(1)
    threading.Timer(0.1, go_on.set).start()
    mailbox.close()
    assert handled == [0]
