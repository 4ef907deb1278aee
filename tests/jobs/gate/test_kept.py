"""Where artefacts of a gate lie at each moment, and what a resume makes of that."""

from __future__ import annotations

from pathlib import Path

from cvtrainer.core.deploy_targets import deploy_targets
from cvtrainer.deploy.targets.target import TARGETS
from cvtrainer.hooks import CheckpointHook
from cvtrainer.jobs.gate.block import Block
from cvtrainer.jobs.gate.kept import KeptArtefacts


def made(kept: KeptArtefacts, text: str) -> None:
    kept.candidate.mkdir(parents=True)
    (kept.candidate / "model.onnx").write_text(text)


def names(folder: Path) -> dict[str, str]:
    return {one.parent.name: one.read_text() for one in folder.glob("*/model.onnx")}


def test_the_best_takes_its_place_when_its_checkpoint_is_whole(tmp_path: Path) -> None:
    kept = KeptArtefacts(tmp_path)
    made(kept, "first")
    kept.sort_in(10, passes=True, best=True)
    assert names(tmp_path) == {"step_10": "first"}
    kept.saving()
    made(kept, "second")
    kept.sort_in(20, passes=True, best=True)  # while the checkpoint of the first is written
    kept.publish(move=True)
    kept.saving()
    state = kept.state_dict()
    assert names(tmp_path) == {"best": "first", "step_20": "second"}
    made(kept, "broken off")

    resumed = KeptArtefacts(tmp_path)
    resumed.load_state_dict(state)
    resumed.go_on()
    assert names(tmp_path) == {"best": "second"}
    again = KeptArtefacts(tmp_path)
    again.load_state_dict(state)  # killed between the move and the next checkpoint
    again.go_on()
    assert names(tmp_path) == {"best": "second"}


def test_what_no_checkpoint_knows_of_is_made_again(tmp_path: Path) -> None:
    kept = KeptArtefacts(tmp_path)
    before = kept.state_dict()
    made(kept, "of a lost step")
    kept.sort_in(10, passes=True, best=True)
    kept.publish(move=True)  # of an older checkpoint
    resumed = KeptArtefacts(tmp_path)
    resumed.load_state_dict(before)
    resumed.go_on()
    assert names(tmp_path) == {}


def test_others_go_or_stay_to_be_looked_at(tmp_path: Path) -> None:
    kept = KeptArtefacts(tmp_path)
    made(kept, "good, not the best")
    kept.sort_in(10, passes=True, best=False)
    assert names(tmp_path) == {}
    made(kept, "bad")
    kept.sort_in(20, passes=False, best=False)
    kept.sort_in(30, passes=False, best=False)  # nothing could be made
    assert names(tmp_path) == {"failed": "bad"}


def test_a_best_that_was_judged_otherwise_counts_no_more() -> None:
    state = {"best": 0.9, "best_epoch": 3, "kept": [], "best_files": [[0.9, "best_model.pth"]]}
    for anew, best in ((True, None), (False, 0.9)):
        hook = CheckpointHook(save_best=False)
        hook.load_state_dict(state)
        hook.leave_judging(anew=anew)
        assert hook.state_dict()["best"] == best
        assert hook.state_dict()["best_files"] == ([] if anew else state["best_files"])
        assert hook.save_top_k == 1


def test_every_is_counted_in_whole_periods() -> None:
    often = Block("onnx", "int8", {"epochs": 2})
    assert [often.periods(epochs=one, steps=7) for one in (0.5, 1, 2, 2.5, 3, 4)] == [
        *(0, 0, 1, 1, 1, 2),
    ]
    tenths = Block("onnx", "int8", {"epochs": 0.1})
    assert tenths.periods(epochs=0.1 + 0.1 + 0.1, steps=1) == 3
    assert Block("onnx", "int8", {"steps": 500}).periods(epochs=9, steps=1499) == 2


def test_the_check_reads_what_targets_say_of_themselves() -> None:
    facts = deploy_targets()
    assert facts.keys() == TARGETS.keys()
    assert facts["onnx"].runs_here
    assert {"fp32", "int8"} <= set(facts["onnx"].precisions or ())
    if "coreml" in facts:
        assert not facts["coreml"].runs_here
