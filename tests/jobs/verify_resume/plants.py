"""Parts with a fault: each keeps something that no checkpoint holds. The tests plant them."""

PARTS = '''
import numpy as np
import torch
from torch import nn

from cvtrainer.hooks.base import BaseHook

GENERATOR = np.random.default_rng(0)


class HiddenHook(BaseHook):
    """Shrinks gradients more and more, and forgets how far it was."""

    def __init__(self):
        self.seen = 0

    def before_optimize(self, stage):
        self.seen += 1
        for parameter in stage.model.parameters():
            parameter.grad.mul_(1.0 / self.seen)


class ForgetfulHook(BaseHook):
    """Gives its state and does not take it back."""

    def __init__(self):
        self.count = 0

    def after_step(self, stage):
        if stage.phase == "train":
            self.count += 1

    def state_dict(self):
        return {"count": self.count}


class AnewHook(BaseHook):
    """Begins anew with every start of the process."""

    def before_train(self, stage):
        nn.init.zeros_(stage.model.head[1].bias)


class Rows:
    """Small pictures that follow from their number."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        picture = torch.full((3, 8, 8), index / 40)
        return {"x": picture + self.noise(index), "target": {"class_id": index % 3}}

    def noise(self, index):
        return torch.randn(1).item()


class OwnGenerator(Rows):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def noise(self, index):
        return float(self.rng.normal())


class ModuleGenerator(Rows):
    def noise(self, index):
        return float(GENERATOR.normal())


class DrawnAtFirst(Rows):
    """Keeps what it drew from numpy's global generator for the first sample it was asked for."""

    table = None

    def noise(self, index):
        if self.table is None:
            self.table = np.random.randn(40)
        return float(self.table[index])


class Unseeded(Rows):
    """Says that it need not be seeded, and draws; in workers that is nobody's state."""

    draws_randomly = False


class FreshGenerator(Rows):
    """Differs from process to process."""

    def __init__(self):
        self.rng = np.random.default_rng()

    def noise(self, index):
        return float(self.rng.normal())


class Jitter:
    """A transform with a counter."""

    def __init__(self):
        self.calls = 0

    def __call__(self, sample):
        self.calls += 1
        return {**sample, "x": sample["x"] + 0.001 * self.calls}


class Warming(nn.Module):
    """A layer with state outside buffers."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        return x * min(1.0, self.steps / 50)


class HiddenNet(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU())
        self.warming = Warming()
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, num_classes))

    def forward(self, x):
        return self.head(self.warming(self.backbone(x)))


class PlainNet(HiddenNet):
    def __init__(self, num_classes=3):
        super().__init__(num_classes)
        self.warming = nn.Identity()


class MovingLoss(nn.Module):
    """Divides by a running mean that is no buffer."""

    def __init__(self):
        super().__init__()
        self.mean = 1.0

    def forward(self, output, target):
        loss = nn.functional.cross_entropy(output, target)
        self.mean = 0.9 * self.mean + 0.1 * float(loss.detach())
        return loss / self.mean


class Forgetting(torch.optim.SGD):
    """Slows down with steps that it counts for itself."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.made = 0

    def step(self, closure=None):
        self.made += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.div_(self.made)
        return super().step(closure)
'''

CONFIG = """
seed: 3
stages:
  - name: train
    epochs: 3
    model: apps.toy.parts.PlainNet
    criterion: CrossEntropyLoss
    optimizer: {type: SGD, kwargs: {lr: 0.1, momentum: 0.9}}
    dataloader:
      train:
        dataset: {type: apps.toy.parts.Rows}
        dataloader_args: {batch_size: 4, shuffle: true}
    logger: [jsonl]
    hooks: []
    meters: [LossMeter]
"""
