"""Short streams: the first batches of an epoch, and the same ones over and over."""

from __future__ import annotations

import torch

from cvtrainer.engine.few_batches import FewBatches, SameBatches
from tests.toy import BatchList, batches


def test_the_first_batches_of_each_epoch_from_any_place() -> None:
    whole = BatchList(batches(6), shuffle=True)
    few = FewBatches(whole, 4)
    assert (len(few), few.batch_size) == (4, 5)
    for epoch in (1, 2):
        wanted = [batch["meta"]["index"] for batch in whole.epoch(epoch)][:4]
        assert [batch["meta"]["index"] for batch in few.epoch(epoch)] == wanted
        assert [batch["meta"]["index"] for batch in few.epoch(epoch, start=3)] == wanted[3:]
    assert len(FewBatches(whole, 99)) == 6
    assert list(FewBatches(whole, 2).epoch(1, start=2)) == []


def test_the_stream_below_is_closed_when_enough_was_served() -> None:
    closed = []

    class Closing(BatchList):
        def epoch(self, epoch: int, *, start: int = 0) -> object:
            try:
                yield from super().epoch(epoch, start=start)
            finally:
                closed.append(epoch)

    list(FewBatches(Closing(batches(5)), 2).epoch(3))
    list(SameBatches(Closing(batches(5)), 2).epoch(4))
    assert closed == [3, 1]


def test_the_same_batches_in_the_same_order_for_any_epoch() -> None:
    whole = BatchList(batches(6), shuffle=True)
    same = SameBatches(whole, 2, length=5)
    first = [batch["meta"]["index"] for batch in whole.epoch(1)][:2]
    for epoch in (1, 7):
        served = [batch["meta"]["index"] for batch in same.epoch(epoch)]
        assert served == [*first, *first, first[0]]
    assert [batch["meta"]["index"] for batch in same.epoch(2, start=3)] == [first[1], first[0]]
    assert len(SameBatches(whole, 2)) == 2


def test_who_changes_a_batch_changes_a_copy() -> None:
    same = SameBatches(BatchList(batches(3)), 1, length=2)
    first, second = same.epoch(1)
    kept = second["x"].clone()
    first["x"].zero_()
    assert torch.equal(next(iter(same.epoch(2)))["x"], kept)
