"""What the watch sees of a process: how long it has been about one thing, and where it stands."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import distributed

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.agreement import GO_ON, INTERRUPTED, STOP, agreement
from cvtrainer.ddp.launch import Nodes
from cvtrainer.ddp.lifeline import lifeline
from cvtrainer.ddp.meeting import Launch
from cvtrainer.ddp.pulse import LEAST_LIMIT_S, Output, Pulse, standing_of
from cvtrainer.ddp.world import World
from cvtrainer.engine.borders import Borders
from cvtrainer.engine.clock import Clock
from cvtrainer.jobs import interrupt
from cvtrainer.jobs.interrupt import stopping_at_a_border
from tests.toy import toy_trainer


def test_a_limit_grows_with_the_slowest_step_unless_one_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("cvtrainer.ddp.pulse.monotonic", lambda: now)
    pulse = Pulse()
    assert pulse.idle == 0.0
    pulse.begin()
    now += 5.0
    assert pulse.idle == 5.0
    assert pulse.limit == LEAST_LIMIT_S
    now += 25.0
    pulse.mark("train", 1, 7)
    assert pulse.idle == 0.0
    assert pulse.limit == 300.0
    assert pulse.doing() == "in training, epoch 1, step 7"
    pulse.stuck_after = 5
    assert pulse.limit == 5
    now += 9.0
    pulse.excuse()
    assert pulse.idle == 0.0
    pulse.rest()
    now += 900.0
    assert pulse.idle == 0.0


@contextmanager
def standing(work: Callable[[threading.Event], object]) -> Iterator[Callable[[], FrameType]]:
    """A thread that does the work until the event is set."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    time.sleep(0.2)
    try:
        yield lambda: sys._current_frames()[thread.ident or 0]
    finally:
        over.set()
        thread.join()


def test_a_thread_that_sleeps_is_where_the_users_code_called() -> None:
    with standing(lambda over: over.wait()) as frame:
        stands = standing_of(frame())
    assert stands.place.startswith(str(Path("tests/ddp/test_watching.py")))
    assert "lambda" in stands.place
    assert not stands.waits
    assert not stands.compiles


def test_a_thread_in_a_backward_pass_may_wait_for_others() -> None:
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            return value * 2

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return gradient

    seen: list[Any] = []

    def hook(gradient: torch.Tensor) -> None:
        seen.append(standing_of(sys._getframe(1)))

    value = torch.ones(1, requires_grad=True)
    value.register_hook(hook)
    Slow.apply(value).sum().backward()
    assert seen[0].waits
    assert "test_a_thread_in_a_backward_pass" in seen[0].place


def test_a_process_that_writes_gets_on(tmp_path: Path) -> None:
    output = Output()
    assert not output.grew()
    (tmp_path / "file").write_bytes(bytes(2 << 20))
    assert output.grew()
    assert not output.grew()


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("ends", [0, 1])
def test_the_end_of_a_connection_is_the_end_of_a_rank(ends: int, in_order: bool) -> None:
    store = distributed.HashStore()
    lines = [lifeline(rank, 3, store) for rank in range(3)]
    for _ in range(4):
        assert lines[0].lost(0.1) == []
    if in_order:
        lines[ends].farewell()
    lines[ends].close()
    for rank in {0, 1, 2} - {ends}:
        noticed = [gone for _ in range(3) for gone in lines[rank].lost(0.1)]
        told = rank == 0 or ends == 0
        assert noticed == ([ends] if told and not in_order else [])
    for rank in {0, 1, 2} - {ends}:
        lines[rank].close()


def test_a_stranger_on_the_lifeline_is_no_rank() -> None:
    import json
    import socket

    store = distributed.HashStore()
    hub = lifeline(0, 2, store)
    port = json.loads(store.get("lifeline"))[0]
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 40)
        for _ in range(4):
            assert hub.lost(0.1) == []
    hub.close()


def test_a_launch_knows_what_its_earlier_starts_have_written() -> None:
    written = Launch("job", ("here 7 100", "there 8 100")).as_plain()
    assert Launch("job", ("there 8 100",)).is_of(written), "one agent has stayed"
    assert Launch("job", ("here 7 100", "third 9 300")).is_of(written)
    assert not Launch("job", ("here 7 200",)).is_of(written), "a new launcher, the old name"
    assert not Launch("other", ("here 7 100",)).is_of(written)
    assert not Launch("job", ("here 7 100",), call=1).is_of(written), "another training"
    assert not Launch("", ("here 7 100",)).is_of({**written, "name": ""}), "no elastic launcher"
    assert not Launch("job", ("here 7 100",)).is_of(None)


def test_one_process_agrees_with_itself_at_once() -> None:
    alone = agreement(1)
    assert alone.border(STOP) == alone.settle(STOP) == STOP
    assert alone.border(GO_ON) == GO_ON
    borders = Borders(World(), Clock())
    borders.open()
    assert not borders.between_batches()
    borders.wish_to_stop()
    assert borders.between_batches()
    assert not borders.interrupted
    borders.close()
    borders.open()
    assert not borders.between_epochs()
    assert borders.all_leave(told=True)
    assert INTERRUPTED > STOP


@pytest.mark.parametrize("later", [False, True])
def test_a_signal_that_is_repeated_at_once_does_not_cut_the_save_short(
    monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    saved: list[int] = []
    trainer = toy_trainer()
    earlier = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with stopping_at_a_border(trainer):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            trainer.train(1)
            saved.append(1)
            if later:
                monkeypatch.setattr(interrupt, "AT_ONCE_S", -1.0)
                os.kill(os.getpid(), signal.SIGTERM)
            saved.append(2)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert saved == ([1] if later else [1, 2])
    assert trainer.clock.step == 0
    assert signal.getsignal(signal.SIGTERM) is earlier


@pytest.mark.seed("S2-20")
def test_machines_as_the_command_line_names_them() -> None:
    assert Nodes.from_words(None, None, None) == Nodes()
    assert Nodes.from_words("1:4", None, "host:29500") == Nodes(1, 4, None, "host:29500")
    assert Nodes.from_words("2", 1, "host:29500") == Nodes(2, 2, 1, "host:29500")
    for words in (("two", None, "h:1"), ("2", None, None), ("4:2", None, "h:1"), ("0", None, "h")):
        with pytest.raises(UserError):
            Nodes.from_words(*words)
    for rank in (2, -1):
        with pytest.raises(UserError, match="node_rank"):
            Nodes.from_words("2", rank, "h:1")
    with pytest.raises(UserError, match="may change"):
        Nodes.from_words("1:2", 0, "h:1")
