"""Two networks against each other: one makes pictures, the other tells them from real ones.

Latents of training come from torch's generator, whose state is saved; those of an evaluation belong
to the samples, so that every evaluation makes the same pictures as far as the weights are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.protocols import Batch, Outputs, State, UpdateResult
from cvtrainer.tasks.pictures import Pictures

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


class Adversarial(Protocol):
    """What both learn from scores; `cvtrainer.loss.AdversarialLoss` is one."""

    def judge(self, real: Tensor, made: Tensor) -> Tensor: ...

    def maker(self, made: Tensor) -> Tensor: ...


class GAN:
    """Updates `judge`, at every step, and `make`, at every `judge_steps`-th.

    The generator turns latents `[N, latent]` into pictures like those of `field`, the discriminator
    pictures into scores. `penalty` is what the squared slope of the scores at real pictures costs
    the judge (R1). Outputs are `made` and `real`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: Adversarial,
        latent: int = 64,
        judge_steps: int = 1,
        penalty: float = 0.0,
        field: str = "x",
        seed: int = 0,
    ) -> None:
        if latent < 1 or judge_steps < 1 or penalty < 0:
            raise UserError(
                f"task gan: latent is {latent}, judge_steps {judge_steps}, penalty {penalty:g}; "
                "give 1 or more, 1 or more, and 0 or more"
            )
        if not (hasattr(loss, "judge") and hasattr(loss, "maker")):
            raise UserError(
                f"task gan: {type(loss).__name__} has no judge(real, made) and maker(made)",
                todo="Use loss: {type: adversarial_loss, kind: hinge}.",
            )
        taken = getattr(generator, "in_features", latent)
        if isinstance(taken, int) and taken != latent:
            raise UserError(
                f"task gan: latent is {latent}, and the generator takes {taken}",
                todo="Give both the same number.",
            )
        self.networks = {GENERATOR: generator, DISCRIMINATOR: discriminator}
        self.criterion = loss
        self.latent = latent
        self.judge_steps = judge_steps
        self.penalty = penalty
        self.field = field
        self.seed = seed
        self.reading = Pictures("made")
        self._used: dict[str, nn.Module] = dict(self.networks)

    def updates(self) -> Sequence[Turn]:
        return (
            Turn("judge", (DISCRIMINATOR,), 1, self._judge),
            Turn("make", (GENERATOR,), self.judge_steps, self._make),
        )

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self._used = dict(networks)

    def evaluate(self, batch: Batch) -> UpdateResult:
        """Both losses, and a picture for each sample that depends on its number alone."""
        real = self._pictures(batch)
        made = self._used[GENERATOR](self.latents_of(_numbers(batch, len(real))).to(real))
        scores = self._used[DISCRIMINATOR](made)
        judge = self.criterion.judge(self._used[DISCRIMINATOR](real), scores)
        make = self.criterion.maker(scores)
        return UpdateResult(
            judge + make, {"judge": judge, "make": make}, {"made": made, "real": real}
        )

    def predict(self, batch: Batch) -> Outputs:
        """Pictures of the latents `[N, latent]` in the field where training has pictures."""
        latents = self._pictures(batch)
        if latents.shape[1:] != (self.latent,):
            raise UserError(
                f"a GAN makes pictures of latents [N, {self.latent}]; the input is "
                f"{list(latents.shape)}",
                where="task gan",
                todo="Give --make COUNT instead of files; in Python, make(count).",
            )
        made: Tensor = self._used[GENERATOR](latents)
        return {"made": made}

    def draw(self, count: int, seed: int) -> Tensor:
        """The first `count` inputs of that seed, for predictions."""
        return _latents(range(count), self.latent, seed)

    def latents_of(self, numbers: Sequence[int]) -> Tensor:
        """The latents of these samples, the same at all times."""
        return _latents(numbers, self.latent, self.seed)

    def state_dict(self) -> State:
        """What the loss keeps, if it is a module."""
        return self.criterion.state_dict() if isinstance(self.criterion, nn.Module) else {}

    def load_state_dict(self, state: State) -> None:
        if isinstance(self.criterion, nn.Module):
            self.criterion.load_state_dict(state)

    def _judge(self, batch: Batch) -> UpdateResult:
        real = self._pictures(batch)
        with torch.no_grad():
            made = self._made_for(real)
        if made.shape[1:] != real.shape[1:]:
            raise UserError(
                f"the generator makes pictures of {list(made.shape[1:])}, those of {self.field!r} "
                f"are {list(real.shape[1:])}",
                where="task gan",
            )
        if self.penalty:
            real = real.detach().requires_grad_()
        scores = self._used[DISCRIMINATOR](torch.cat((real, made.to(real))))
        for_real, for_made = scores.split((len(real), len(made)))
        loss = self.criterion.judge(for_real, for_made)
        parts = {"real": for_real.detach().mean(), "made": for_made.detach().mean()}
        if self.penalty:
            parts["slope"] = _slope(for_real, real)
            loss = loss + self.penalty / 2 * parts["slope"]
        return UpdateResult(loss, parts, {"made": made, "real": real.detach()})

    def _make(self, batch: Batch) -> UpdateResult:
        real = self._pictures(batch)
        made = self._made_for(real)
        judge = self.networks[DISCRIMINATOR]
        with _held(judge):
            loss = self.criterion.maker(judge(made))
        return UpdateResult(loss, {}, {"made": made, "real": real})

    def _made_for(self, real: Tensor) -> Tensor:
        """As many pictures as there are real ones, of new latents."""
        drawn = torch.randn(len(real), self.latent, device=real.device)
        made: Tensor = self._used[GENERATOR](drawn)
        return made

    def _pictures(self, batch: Batch) -> Tensor:
        if self.field not in batch:
            raise UserError(
                f"the batch has no field {self.field!r}; there is {', '.join(batch)}",
                where="task gan",
                todo="Set the task's field to one of them.",
            )
        pictures: Tensor = batch[self.field]
        return pictures


class Turn:
    """One of the two updates."""

    def __init__(
        self,
        name: str,
        networks: Collection[str],
        every: int,
        compute: Callable[[Batch], UpdateResult],
    ) -> None:
        self.name = name
        self.networks = networks
        self.every = every
        self.compute = compute


def _latents(numbers: Sequence[int], width: int, seed: int) -> Tensor:
    """A row for each number; no row depends on the others."""
    rows = []
    for number in numbers:
        drawn = torch.Generator().manual_seed(mix(seed, number) >> 1)
        rows.append(torch.randn(width, generator=drawn))
    return torch.stack(rows)


def _numbers(batch: Batch, count: int) -> list[int]:
    """The samples' numbers in their data set, or their places in the batch."""
    meta: Mapping[str, Any] = batch.get("meta") or {}
    return [int(number) for number in meta.get("index", range(count))]


def _slope(scores: Tensor, pictures: Tensor) -> Tensor:
    """The mean squared gradient of the scores, itself differentiable."""
    (slopes,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return slopes.square().flatten(1).sum(dim=1).mean()


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Inside, gradients pass through the network and do not gather in it."""
    learning = [one for one in network.parameters() if one.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
