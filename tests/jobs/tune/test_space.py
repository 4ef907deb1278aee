"""What a sweep searches: the forms of a range, their mistakes, and that the config takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.tune.space import check_space, grid, read_space, words_of
from tests.project import write_project


def test_all_forms_of_a_range() -> None:
    words = ["a=log(1e-4, 1e-1)", "b=float(0,1,0.25)", "c=int(1,8)", "d=logint(8,512)"]
    a, b, c, d = read_space([*words])
    assert (a.kind, a.low, a.high, a.log) == ("float", 1e-4, 1e-1, True)
    assert b.points() == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert c.points() == tuple(range(1, 9))
    assert (d.kind, d.log, d.ends()) == ("int", True, (8, 512))


def test_choices_say_what_an_override_would_say() -> None:
    (one,) = read_space(["a=choice(adam, 'x, y', [1, 2], {b: 1}, null, 3, true, '3')"])
    assert one.choices == ("adam", "x, y", "[1, 2]", '{"b": 1}', "null", "3", "true", '"3"')
    assert one.word("adam") == "a=adam"


def test_a_file_and_words_together(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("optimizer.lr: log(1e-4, 1e-1)\nmodel.width: [4, 8]\n")
    space = read_space(["epochs=int(1,2)"], file)
    assert [one.key for one in space] == ["optimizer.lr", "model.width", "epochs"]
    assert space[1].choices == ("4", "8")
    assert list(grid(space[1:])) == [
        {"model.width": width, "epochs": epochs} for width in ("4", "8") for epochs in (1, 2)
    ]
    assert words_of(space[1:], {"model.width": "4", "epochs": 2}) == ["model.width=4", "epochs=2"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to search"),
        (["lr"], "is no parameter"),
        (["lr=0.1"], "is no range"),
        (["lr=lgo(1,2)"], "Did you mean log?"),
        (["lr=log(0,1)"], "Start above 0"),
        (["lr=log(1)"], "takes two numbers"),
        (["lr=float(2,1)"], "holds no range"),
        (["lr=float(0,1,0)"], "holds no range"),
        (["lr=int(1.5,3)"], "whole numbers"),
        (["lr=float(a,b)"], "takes two numbers"),
        (["lr=choice()"], "one value or more"),
        (["lr=choice(1,1)"], "each once"),
        (["lr=int(1,2)", "lr=int(1,3)"], "given twice"),
    ],
)
def test_mistakes_are_one_line(words: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_space(words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_without_steps_has_no_grid() -> None:
    with pytest.raises(UserError, match="has no steps"):
        list(grid(read_space(["lr=log(1e-4,1)"])))


def test_the_config_is_compiled_with_all_ends_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    good = read_space(["optimizer.lr=log(1e-4,0.1)", "optimizer.type=choice(SGD,AdamW)"])
    check_space(config, [], good)
    words = words_of(good, {"optimizer.lr": 0.000123456789, "optimizer.type": "SGD"})
    node = compile_config(config, words).resolved["stages"][0]["optimizer"]
    assert node == {**node, "type": "torch.optim:SGD"}
    assert node["kwargs"]["lr"] == 0.000123456789
    for word, told in (
        ("optimizer.lrr=log(1e-4,0.1)", "Did you mean lr?"),
        ("optimiser.lr=log(1e-4,0.1)", "Did you mean optimizer?"),
        ("optimizer.type=choice(SGD,AdmaW)", "AdmaW"),
        ("dataloader.train.dataloader_args.batch_size=int(0,8)", "batch_size"),
    ):
        with pytest.raises(UserError) as caught:
            check_space(config, [], read_space([word]))
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
