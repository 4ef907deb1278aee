"""A data set and a network that can be wrong in one way each, as a user's own code would be."""

PARTS = '''
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cvtrainer.data.datasets import DataAdapter


class Pictures(DataAdapter):
    """Eight pictures; number `bad` has the label `label`, number `short` is a row shorter, the box
    of number `small` is so small that its centre lies behind its width and height."""

    def __init__(
        self,
        kind="class_id",
        bad: int = -1,
        label: int = 7,
        channels=3,
        side=12,
        short: int = -1,
        small: int = -1,
    ):
        self.kind, self.bad, self.label, self.short, self.small = kind, bad, label, short, small
        self.shape = (side, side, channels)

    def __len__(self):
        return 8

    def _load_sample(self, idx):
        label = self.label if idx == self.bad else idx % 3
        shape = (self.shape[0] - (idx == self.short), *self.shape[1:])
        mask = np.full(shape[:2], idx % 3, np.uint8)
        mask[0, 0] = label % 256
        box = [30, 30, 40, 41] if idx == self.small else [2, 2, 40, 40]
        targets = {
            "class_id": {"class_id": label},
            "class_ids": {"class_ids": [label]},
            "value": {"value": float("nan") if idx == self.bad else float(idx)},
            "mask": {"mask": mask},
            "boxes": {"boxes": np.array([box]), "box_labels": np.array([label])},
            "nothing": {"boxes": np.zeros((0, 4)), "box_labels": np.zeros(0, np.int64)},
        }
        image = np.random.default_rng(idx).integers(0, 255, shape, dtype=np.uint8)
        meta = {"path": f"pictures/{idx}.png"}
        return {"x": image, "target": targets[self.kind], "meta": meta}


class Net(nn.Module):
    def __init__(self, gives="scores", dense=False):
        super().__init__()
        self.gives, self.dense = gives, dense
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.pool = nn.MaxPool2d(4)
        self.head = nn.Linear(8, 3)
        self.each = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        if self.dense:
            return self.each(x)
        y = self.head(self.pool(self.stem(x)).mean((2, 3)))
        if self.gives == "bug":
            return y.view(7, 7)
        return {
            "scores": y,
            "one": y[:, :1],
            "flat": y[:, 0],
            "three": y.unsqueeze(-1),
            "nan": y * float("nan"),
            "text": "scores",
            "detached": y.detach(),
            "pair": (y, y),
        }[self.gives]


class Raw:
    """A tensorizer that looks at nothing."""

    def __call__(self, value):
        return torch.tensor(value)


class NaNLoss(nn.Module):
    def forward(self, output, target):
        return functional.cross_entropy(output, target) * float("nan")


class EachLoss(nn.Module):
    def forward(self, output, target):
        return functional.cross_entropy(output, target, reduction="none")


class PartLoss(nn.Module):
    def forward(self, output, target):
        each = functional.cross_entropy(output, target, reduction="none")
        return {"loss": each.mean(), "kinds": each}


class CountedLoss(nn.Module):
    def forward(self, output, target):
        return {"loss": functional.cross_entropy(output, target), "share": 0.5}


class OwnLoss(nn.Module):
    def forward(self, output, target):
        return functional.mse_loss(output, target)


class WrongShapes:
    PRODUCES = ("wrong",)

    def update(self, output, target):
        self.value = nn.functional.cross_entropy(output, output.T)

    def compute(self):
        return {}

    def reset(self): ...

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...
'''
