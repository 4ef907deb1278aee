"""`pretrained` of models and backbones: what is read, when, and the account of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torchvision import models

import cvtrainer
from cvtrainer.cli.program import main
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.ddp.world import World
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.experiment.first_weights import _other_pictures
from cvtrainer.models import BaseModel, TorchvisionDetector
from cvtrainer.models.backbones import (
    EdgeNet,
    ResNet18,
    SmallCNN,
    TimmBackbone,
    TimmPyramid,
    TorchvisionBackbone,
)
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_torchvision
from cvtrainer.models.heads import Multiclass

NETWORK = """
from torch import nn


class Own(nn.Module):
    def __init__(self, num_classes: int = 3, pretrained: str | None = None):
        super().__init__()
        self.asked = pretrained
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))


class Plain(Own):
    def __init__(self, num_classes: int = 3):
        super().__init__(num_classes)


class Flag(Own):
    def __init__(self, pretrained: bool = False):
        super().__init__()
        self.asked = pretrained


class Downloads(Own):
    def __init__(self, encoder_weights: str | None = "imagenet"):
        super().__init__()
        self.asked = encoder_weights
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(NETWORK)
    return tmp_path


def config(model: Any, **more: Any) -> dict[str, Any]:
    image = {"type": "image", "normalize": None}
    split = {
        "dataset": {"type": "picture_world", "count": 8, "size": 32, "fields": ["class_id"]},
        "tensorizer": {"type": "tensorizer", "mapping": {"x": image, "class_id": "index"}},
        "dataloader_args": {"batch_size": 4},
    }
    stage = {
        "name": "train",
        "epochs": 1,
        "model": model,
        "criterion": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 1e-30},
        "dataloader": {"train": split, "val": split},
    }
    return {"project": "p", "name": "n", "dir": "run", "stages": [{**stage, **more}]}


def three_parts(backbone: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"type": "multiclass", "num_classes": 6}
    return {"type": "base_model", "backbone": backbone, "head": head, **more}


def trained(model: Any, **more: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    """Weights after an epoch that changes nothing, the accounts, and the log."""
    run = cvtrainer.train(config(model, **more)).run
    state = torch.load(run / "checkpoints" / "best_model.pth", weights_only=True)
    accounts = {one.stem: json.loads(one.read_text()) for one in (run / "handover").glob("*.json")}
    return state["networks"]["model"], accounts, (run / "train.log").read_text()


def filled(network: nn.Module, value: float = 0.125) -> nn.Module:
    with torch.no_grad():
        for one in network.parameters():
            one.fill_(value)
    return network


@pytest.mark.seed("S2-70", "S2-92")
def test_a_backbone_from_a_file_with_its_whole_account(place: Path) -> None:
    torch.save({"state_dict": filled(SmallCNN(4, 2)).state_dict()}, "backbone.pth")
    node = {"type": "small_cnn", "width": 4, "depth": 2, "pretrained": "backbone.pth"}
    weights, accounts, log = trained(three_parts(node))
    assert torch.equal(weights["backbone.stages.0.0.weight"], torch.full((4, 3, 3, 3), 0.125))
    (fit,) = accounts["train_model.backbone"]["fits"]
    assert len(fit["loaded"]) == 12
    assert fit["missing"] == fit["unexpected"] == []
    assert "pretrained model.backbone: backbone.pth: 12 of 12 weights taken over" in log
    assert "train_model.backbone.json has all names" in log


def test_a_stem_is_converted_and_told(place: Path) -> None:
    torch.manual_seed(0)
    old = SmallCNN(4, 2)
    torch.save(old.state_dict(), "colour.pth")
    node = {"type": "small_cnn", "width": 4, "depth": 2, "in_channels": 4}
    loaded = fill(config(three_parts({**node, "pretrained": "colour.pth"})))
    weight, given = loaded.backbone.stages[0][0].weight, old.stages[0][0].weight
    torch.testing.assert_close(weight[:, 1], given[:, 1])
    torch.testing.assert_close(weight[:, 0], given[:, 0] / 2)
    torch.testing.assert_close(weight[:, 3], given[:, 0] / 2)
    told: list[str] = []
    fill(config(three_parts({**node, "pretrained": "colour.pth"})), told)
    assert "stem converted 1: stages.0.0.weight (4, 3, 3, 3) to (4, 4, 3, 3)" in told[0]
    block = {"source": "colour.pth", "convert_stem": False}
    fill(config(three_parts({**node, "pretrained": block})), told)
    assert "wrong shape 1: stages.0.0.weight (4, 3, 3, 3) for (4, 4, 3, 3)" in told[1]
    with pytest.raises(UserError, match="weights do not fit the model"):
        fill(config(three_parts({**node, "pretrained": {**block, "strict": True}})))


def fill(given: dict[str, Any], told: list[str] | None = None) -> Any:
    """The stage's model with the weights that it asks for."""
    stage = compile_config(given).resolved["stages"][0]
    experiment = Experiment(Path("own.py"))
    task = experiment.task(stage)
    say = told.append if told is not None else (lambda text: None)
    experiment.fill_weights(task, stage, Surroundings(run=None, world=World(), say=say))
    return task.networks["model"]


def test_a_backbone_takes_its_part_of_a_run_of_ours(place: Path) -> None:
    """From the folder, from a checkpoint, for the whole model and for a part of it."""
    node = {"type": "small_cnn", "width": 4, "depth": 2}
    weights, _, _ = trained(three_parts(node), optimizer={"type": "SGD", "lr": 0.1})
    for source in ("run", "run/checkpoints/best_model.pth"):
        one = fill(config(three_parts({**node, "pretrained": source})))
        name = "backbone.stages.0.0.weight"
        assert torch.equal(one.state_dict()[name], weights[name])
        assert not torch.equal(
            one.state_dict()["head.linear.weight"], weights["head.linear.weight"]
        )
        whole = fill(config(three_parts(node, pretrained=source)))
        assert torch.equal(whole.head.linear.weight, weights["head.linear.weight"])
    other = fill(
        config(
            {**three_parts(node, pretrained="run"), "head": "multiclass"}
            | {"head": {"type": "multiclass", "num_classes": 2}}
        )
    )
    assert other.head.linear.weight.shape[0] == 2
    with pytest.raises(UserError, match="no run"):
        fill(config(three_parts(node, pretrained=str(place))))


@pytest.mark.parametrize(
    ("ours", "theirs", "node"),
    [
        (TimmBackbone, "resnet10t", {"type": "timm", "kwargs": {"name": "resnet10t"}}),
        (
            TimmPyramid,
            "convnext_atto",
            {"type": "timm_pyramid", "kwargs": {"name": "convnext_atto", "taps": [8, 16]}},
        ),
        (TimmPyramid, "ghostnet_100", {"type": "timm_pyramid", "kwargs": {"name": "ghostnet_100"}}),
    ],
)
def test_files_of_timm_fit_by_timms_names(
    ours: Any, theirs: str, node: dict[str, Any], place: Path
) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(filled(timm.create_model(theirs)).state_dict(), "timm.safetensors")
    head = {"type": "mask" if "pyramid" in node["type"] else "multiclass"}
    model = {"type": "base_model", "backbone": {**node, "pretrained": "timm.safetensors"}}
    told: list[str] = []
    loaded = fill(config({**model, "head": {**head, "num_classes": 3}}), told)
    assert isinstance(loaded.backbone, ours)
    assert all((one == 0.125).all() for one in loaded.backbone.parameters())
    assert "missing" not in told[0]


def test_files_of_torchvision_fit_by_its_names(place: Path) -> None:
    from torchvision import models

    torch.save(filled(models.mobilenet_v3_small(weights=None)).state_dict(), "tv.pth")
    torch.save(filled(models.resnet18(weights=None)).state_dict(), "resnet.pth")
    node = {"type": "torchvision", "kwargs": {"name": "mobilenet_v3_small"}, "pretrained": "tv.pth"}
    told: list[str] = []
    loaded = fill(config(three_parts(node)), told)
    assert isinstance(loaded.backbone, TorchvisionBackbone)
    assert all((one == 0.125).all() for one in loaded.backbone.parameters())
    assert "left over 2: classifier.3.weight, classifier.3.bias" in told[0]
    grey = {"type": "resnet18", "in_channels": 1, "pretrained": "resnet.pth"}
    loaded = fill(config(three_parts(grey)), told)
    assert isinstance(loaded.backbone, ResNet18)
    assert torch.equal(loaded.backbone.conv1.weight, torch.full((64, 1, 7, 7), 0.375))
    assert "stem converted 1: conv1.weight (64, 3, 7, 7) to (64, 1, 7, 7)" in told[1]


@pytest.mark.parametrize(
    "node",
    [
        {"type": "timm", "kwargs": {"name": "resnet10t"}},
        {"type": "timm_pyramid", "kwargs": {"name": "resnet10t"}},
        {"type": "torchvision", "kwargs": {"name": "mobilenet_v3_small"}},
        {"type": "resnet18"},
    ],
)
def test_without_a_network_it_is_said_in_one_line(
    node: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building and evaluating ask nobody; training does, and says what to do instead."""
    monkeypatch.setenv("TORCH_HOME", str(place))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
    head = {"type": "mask" if "pyramid" in node["type"] else "multiclass", "num_classes": 6}
    model = {"type": "base_model", "backbone": {**node, "pretrained": True}, "head": head}
    stage = compile_config(config(model)).resolved["stages"][0]
    Experiment().task(stage)
    library = "timm" if "timm" in node["type"] else "torchvision"
    with pytest.raises(
        UserError, match=rf"the weights of {library}'s .* could not be fetched"
    ) as e:
        fill(config(model))
    assert "\n" not in str(e.value)
    assert "pretrained: FILE" in str(e.value)


@pytest.mark.parametrize(
    ("normalize", "told"),
    [
        (None, "the stage's are only scaled to 0..1"),
        ("half", "the stage's are normalised by mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]"),
        ("imagenet", None),
    ],
)
def test_pictures_that_published_weights_do_not_know_are_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, normalize: str | None, told: str | None
) -> None:
    """The weights lie where torchvision keeps what it has fetched."""
    name = "mobilenet_v3_small"
    fetched = place / "hub" / "checkpoints"
    fetched.mkdir(parents=True)
    weights = models.get_model_weights(name)["DEFAULT"]
    torch.save(models.get_model(name).state_dict(), fetched / Path(weights.url).name)
    monkeypatch.setenv("TORCH_HOME", str(place))
    node = {"type": "torchvision", "kwargs": {"name": name}, "pretrained": True}
    made = config(three_parts(node))
    for split in made["stages"][0]["dataloader"].values():
        given = {"mean": [0.5] * 3, "std": [0.5] * 3} if normalize == "half" else normalize
        split["tensorizer"]["mapping"]["x"]["normalize"] = given
    said: list[str] = []
    fill(made, said)
    account, *others = said
    assert "published" in account
    if told is None:
        assert others == []
    else:
        assert f"mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]; {told}" in others[0]


def test_the_pictures_of_published_weights() -> None:
    half = (0.5, 0.5, 0.5)
    vision = TimmBackbone("vit_tiny_patch16_224").published_input()
    assert vision == PublishedInput(224, 224, half, half)
    assert TimmPyramid("mobilenetv3_small_050", taps=[8]).published_input() is not None
    assert TimmBackbone("coatnet_0_224").published_input() is None
    colours = ResNet18().published_input()
    assert colours is not None
    assert (colours.height, colours.mean) == (224, (0.485, 0.456, 0.406))
    large = input_of_torchvision("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")
    assert large is not None
    assert large.height == 384
    found = TorchvisionDetector("ssdlite320_mobilenet_v3_large", 3).published_input()
    assert found == PublishedInput(320, 320, half, half)


@pytest.mark.parametrize(
    ("channels", "mean", "told"),
    [
        (1, [0.449], False),
        (1, [0.2], True),
        (3, [0.449], True),
    ],
)
def test_one_number_stands_for_all_channels(channels: int, mean: list[float], told: bool) -> None:
    stage = compile_config(config(three_parts({"type": "small_cnn"}))).resolved["stages"][0]
    for split in stage["dataloader"].values():
        made = split["tensorizer"]["kwargs"]["mapping"]["x"]
        made["kwargs"]["normalize"] = {"mean": mean, "std": [0.226]}
    assert (_other_pictures(ResNet18(channels), None, stage) is not None) == told


def test_names_of_published_weights(place: Path) -> None:
    with pytest.raises(UserError, match="no weights 'V9' for resnet18"):
        fill(config(three_parts({"type": "resnet18", "weights": "V9"})))
    with pytest.raises(UserError, match="no weights 'V9' for resnet18"):
        ResNet18(weights="V9")
    with pytest.raises(UserError, match="timm has published no weights for coatnet_0_224"):
        TimmBackbone("coatnet_0_224", pretrained=True)
    with pytest.raises(UserError, match="no published weights for"):
        fill(config(three_parts({"type": "edge_net", "pretrained": True})))
    assert isinstance(
        fill(config(three_parts({"type": "edge_net", "pretrained": False}))), BaseModel
    )
    assert isinstance(fill(config(three_parts({"type": "edge_net", "pretrained": ""}))), BaseModel)


def test_classes_of_the_users_own(place: Path) -> None:
    """An argument `pretrained` is theirs; where there is none or only yes or no, a file is ours."""
    torch.save(filled(nn.Conv2d(3, 4, 3)).state_dict(), "stem.pth")
    rules = {"source": "stem.pth", "add_prefix": "stem"}
    assert fill(config({"type": "own.Own", "pretrained": "mine"})).asked == "mine"
    assert fill(config({"type": "own.Own", "kwargs": {"pretrained": "mine"}})).asked == "mine"
    assert fill(config({"type": "own.Flag", "pretrained": True})).asked is True
    for kind in ("Plain", "Flag"):
        made = fill(config({"type": f"own.{kind}", "pretrained": rules}))
        assert (made.stem.weight == 0.125).all()
        assert not made.asked
    assert fill(config({"type": "own.Downloads"})).asked is None
    asked = fill(config({"type": "own.Downloads", "encoder_weights": "imagenet"})).asked
    assert asked == "imagenet"


def test_a_resumed_run_and_an_evaluation_read_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(filled(SmallCNN(4, 2)).state_dict(), "first.pth")
    node = {"type": "small_cnn", "width": 4, "depth": 2, "pretrained": "first.pth"}
    Path("train.yaml").write_text(yaml.safe_dump(config(three_parts(node))))
    assert main(["train", "--config", "train.yaml"]) == 0
    Path("first.pth").unlink()
    words = ["--config", "train.yaml"]
    best = "run/checkpoints/best_model.pth"
    assert main(["eval", *words, "--checkpoint", best]) == 0
    assert main(["model", "show", *words]) == 0
    cvtrainer.load("run")
    assert main(["train", *words, "--resume", "auto", "stages.train.epochs=2"]) == 0
    capsys.readouterr()
    assert main(["train", *words]) == 2
    assert "first.pth" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_teacher_gets_its_weights_even_where_a_run_goes_on(place: Path) -> None:
    """It is no part of a checkpoint; the student is."""
    torch.save(filled(SmallCNN(4, 2)).state_dict(), "first.pth")
    node = {"type": "small_cnn", "width": 4, "depth": 2, "pretrained": "first.pth"}
    task = {"type": "distillation", "teachers": {"old": {"network": three_parts(node)}}}
    stage = compile_config(config(three_parts(node), task=task)).resolved["stages"][0]
    for begins in (True, False):
        experiment = Experiment()
        built: Any = experiment.task(stage)
        around = Surroundings(run=None, world=World(), begins=begins)
        experiment.fill_weights(built, stage, around)
        teacher, student = built.frozen["old"].backbone, built.networks["model"].backbone
        assert (teacher.stages[0][0].weight == 0.125).all()
        assert bool((student.stages[0][0].weight == 0.125).all()) == begins


def test_a_networks_name_beside_its_type_is_the_entrys() -> None:
    with pytest.raises(ConfigErrors, match="names the entry, so write it in kwargs"):
        compile_config(config(three_parts({"type": "timm", "name": "resnet10t"})))


def test_what_is_wrong_with_it_is_told_before_torch(place: Path) -> None:
    def told(value: Any) -> str:
        node = {"type": "edge_net", "pretrained": value}
        with pytest.raises(ConfigErrors) as error:
            compile_config(config(three_parts(node)))
        return str(error.value)

    assert "pretrained: must be true, a file, or a mapping" in told(3)
    assert "Did you mean strict?" in told({"source": "a.pth", "strct": True})
    assert "say where the weights come from" in told({"strict": True})
    assert "has more * than" in told({"source": "a.pth", "rename": {"a": "b.*"}})
    twice = {"type": "edge_net", "pretrained": "a.pth", "kwargs": {"pretrained": "b.pth"}}
    with pytest.raises(ConfigErrors, match="given twice"):
        compile_config(config(three_parts(twice)))


@pytest.mark.seed("S3-04", "S3-87", "S1-58")
@pytest.mark.parametrize("before", ["", "module.", "model.", "module.model.", "_orig_mod.module."])
def test_prefixes_of_wrappers_come_off(before: str) -> None:
    model = BaseModel(SmallCNN(4, 2), None, Multiclass(3))
    saved = {before + name: value for name, value in model.state_dict().items()}
    model.load_state_dict(cvtrainer.remove_module_prefix(saved))
    kept = nn.ModuleDict({"model": EdgeNet(0.25), "other": nn.Linear(1, 1)}).state_dict()
    assert list(cvtrainer.remove_module_prefix(kept)) == list(kept)
    assert cvtrainer.remove_module_prefix({}) == {}
