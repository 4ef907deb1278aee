"""Series, texts, tables and graphs: what is padded counts nowhere, wrong inputs are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.models import BaseModel, GraphModel, SequenceModel, TableModel
from cvtrainer.models.backbones import GraphNet, SeriesNet, SmallCNN, TableNet, TextNet
from cvtrainer.models.heads import EachPlace, Multiclass, Regression, SeveralHeads


def trained(network: nn.Module, *batch: torch.Tensor) -> nn.Module:
    """With statistics that are not those of the first moment."""
    with torch.no_grad():
        for _ in range(3):
            network(*batch)
    return network.eval()


@pytest.mark.parametrize("pooling", ["mean", "max", "both"])
@pytest.mark.parametrize("length", [5, 8, 13])
def test_a_series_does_not_see_its_padding(pooling: Any, length: int) -> None:
    torch.manual_seed(0)
    series = torch.randn(4, 16, 2)
    net = trained(SeriesNet(2, width=4, depth=3, pooling=pooling), series)
    padding = torch.arange(16)[None] >= torch.tensor([16, length, length, 9])[:, None]
    filled = series.masked_fill(padding[..., None], 7.0)
    torch.testing.assert_close(net(filled, padding)[1:2], net(series[1:2, :length]))


def test_a_text_does_not_see_its_padding() -> None:
    torch.manual_seed(0)
    texts = torch.randint(1, 30, (3, 12))
    net = trained(TextNet(30, embedding=6, width=4, depth=2), texts)
    padding = torch.arange(12)[None] >= torch.tensor([12, 7, 3])[:, None]
    filled = texts.masked_fill(padding, 0)
    torch.testing.assert_close(net(filled, padding)[1:2], net(texts[1:2, :7]))


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
def test_a_graph_does_not_see_its_padding(pooling: Any) -> None:
    torch.manual_seed(0)
    nodes, edges = torch.randn(3, 7, 4), torch.rand(3, 7, 7)
    net = trained(GraphNet(4, width=6, pooling=pooling), nodes, edges)
    padding = torch.arange(7)[None] >= torch.tensor([7, 5, 2])[:, None]
    outside = padding[:, None, :] | padding[:, :, None]
    made = net(nodes.masked_fill(padding[..., None], 3.0), edges.masked_fill(outside, 0), padding)
    alone = net(nodes[1:2, :5], edges[1:2, :5, :5])
    torch.testing.assert_close(made[1:2, :, :5] if pooling == "none" else made[1:2], alone)


def test_messages_reach_the_neighbours_only() -> None:
    torch.manual_seed(0)
    nodes = torch.randn(1, 3, 2)
    edges = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    net = GraphNet(2, width=8, depth=1).eval()
    before = net(nodes, edges)
    nodes[0, 1] += 1.0
    changed = (net(nodes, edges) - before).abs().sum(dim=1)[0]
    assert (changed[:2] > 1e-6).all()
    assert changed[2] == 0
    silent = GraphNet(2, width=8, depth=1, messages="none").eval()
    assert torch.equal(silent(nodes, edges), silent(nodes, torch.zeros_like(edges)))


def test_models_of_several_inputs_take_any_head() -> None:
    padding = torch.zeros(2, 6, dtype=torch.bool)
    sequence = SequenceModel(SeriesNet(3, width=4), None, Regression())
    assert sequence(torch.randn(2, 6, 3), padding).shape == (2,)
    table = TableModel(TableNet(2, [3], width=4), None, Multiclass(5))
    assert table(torch.randn(2, 2), torch.tensor([[0], [2]])).shape == (2, 5)
    graph = GraphModel(GraphNet(3, width=4), None, EachPlace(5))
    assert graph(torch.randn(2, 6, 3), torch.rand(2, 6, 6), padding).shape == (2, 5, 6)


def test_numbers_begin_on_the_scale_of_their_targets() -> None:
    torch.manual_seed(0)
    features = torch.randn(500, 64)
    plain, fitted = Regression(2), Regression(2, mean=[20.0, -3.0], std=[4.0, 0.1])
    for head in (plain, fitted):
        torch.manual_seed(1)
        head.connect(64)
    wanted = plain(features) * torch.tensor([4.0, 0.1]) + torch.tensor([20.0, -3.0])
    torch.testing.assert_close(fitted(features), wanted)
    single = Regression(mean=7.0, in_channels=64)
    assert single(features).mean().item() == pytest.approx(7, abs=0.5)
    with pytest.raises(UserError, match="std has 3 numbers for 2 values"):
        Regression(2, std=[1.0, 2.0, 3.0])


def test_several_heads_give_outputs_by_name() -> None:
    model = BaseModel(SmallCNN(width=4), None, {"kind": Multiclass(5), "count": Regression()})
    made = model(torch.randn(2, 3, 16, 16))
    assert {name: tuple(one.shape) for name, one in made.items()} == {"kind": (2, 5), "count": (2,)}
    with pytest.raises(UserError, match="head names no head"):
        SeveralHeads({})
    with pytest.raises(UserError, match="gives 16 channels and Multiclass takes 7"):
        BaseModel(SmallCNN(width=4), None, {"kind": Multiclass(5, in_channels=7)})


def test_no_head_takes_the_place_of_another() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"b": x}

    with pytest.raises(UserError, match="two heads give an output a_b"):
        SeveralHeads({"a": Pair(), "a_b": nn.Identity()})(torch.ones(1))


@pytest.mark.parametrize(
    ("net", "batch", "said"),
    [
        (SeriesNet(3), [torch.randn(2, 8, 4)], r"SeriesNet takes series \[N, T, 3\]"),
        (TextNet(9), [torch.randn(2, 8)], r"TextNet takes whole numbers \[N, T\]"),
        (TableNet(3), [torch.randn(2, 4)], "TableNet takes rows of 3 numbers"),
        (TableNet(3, [2]), [torch.randn(2, 3)], "1 columns of categories and is given 0"),
        (GraphNet(3), [torch.randn(2, 4, 3), torch.rand(2, 3, 3)], "GraphNet takes nodes"),
        (EachPlace(2, in_channels=3), [torch.randn(2, 3)], "EachPlace takes features"),
    ],
)
def test_wrong_inputs_are_named(net: nn.Module, batch: list[torch.Tensor], said: str) -> None:
    with pytest.raises(UserError, match=said):
        net(*batch)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SeriesNet(kernel_size=4),
        lambda: SeriesNet(pooling="median"),
        lambda: TextNet(1),
        lambda: TableNet(0),
        lambda: GraphNet(3, depth=0),
        lambda: GraphNet(3, messages="all"),
        lambda: Regression(0),
        lambda: EachPlace(0),
    ],
)
def test_wrong_arguments_are_refused(make: Any) -> None:
    with pytest.raises(UserError, match=r"give|can be"):
        make()
