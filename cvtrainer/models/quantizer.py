"""Vectors replaced by the nearest ones of a code book, which is learnt along the way.

Gradients pass straight through the replacement. The book follows the vectors as a moving average
of those that chose a code, or is a parameter that the loss pulls towards them. Averages, and codes
that begin anew, are the same in all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError

_SMALL = 1e-5


class VectorQuantizer(nn.Module):
    """Maps `[N, width, h, w]`; gives them quantised, the loss, the codes `[N, h, w]`, perplexity.

    The loss is `commitment` times how far vectors are from their codes, and without a `decay` how
    far codes are from their vectors as well. With one, a code that is used less than `revive` of an
    even share takes the place of a random vector of the batch.
    """

    book: Tensor
    used: Tensor
    sums: Tensor

    def __init__(
        self,
        codes: int = 128,
        width: int = 32,
        commitment: float = 0.25,
        decay: float | None = 0.99,
        revive: float = 0.05,
    ) -> None:
        super().__init__()
        if codes < 2 or width < 1 or commitment < 0:
            raise UserError(
                f"VectorQuantizer: codes is {codes}, width {width}, commitment {commitment:g}; "
                "give 2 or more, 1 or more, and 0 or more"
            )
        if decay is not None and not 0 <= decay < 1:
            raise UserError(f"VectorQuantizer: decay is {decay:g}; give 0 to 1, or null")
        self.codes = codes
        self.commitment = commitment
        self.decay = decay
        self.revive = revive
        book = (torch.rand(codes, width) * 2 - 1) / codes
        if decay is None:
            self.book = nn.Parameter(book)
            return
        self.register_buffer("book", book)
        self.register_buffer("used", torch.ones(codes))
        self.register_buffer("sums", book.clone())

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = maps.float()
        vectors = wide.movedim(1, -1)
        rows = vectors.flatten(0, -2)
        with torch.autocast(maps.device.type, enabled=False):
            codes = self._nearest(rows.detach())
            chosen = functional.one_hot(codes, self.codes).to(rows.dtype)
        near = functional.embedding(codes, self.book).view_as(vectors).movedim(-1, 1)
        loss = self.commitment * functional.mse_loss(wide, near.detach())
        if self.decay is None:
            loss = loss + functional.mse_loss(near, wide.detach())
        elif self.training:
            self._follow(rows.detach(), chosen)
        share = chosen.mean(dim=0)
        perplexity = torch.special.entr(share).sum().exp()
        passed = wide + (near - wide).detach()
        return passed.to(maps.dtype), loss, codes.view(vectors.shape[:-1]), perplexity

    def look_up(self, codes: Tensor) -> Tensor:
        """Maps `[N, width, h, w]` of codes `[N, h, w]`."""
        return functional.embedding(codes, self.book).movedim(-1, 1)

    def _nearest(self, rows: Tensor) -> Tensor:
        book = self.book.detach()
        apart = book.square().sum(dim=1) - 2 * rows @ book.T
        return apart.argmin(dim=1)

    @torch.no_grad()
    def _follow(self, rows: Tensor, chosen: Tensor) -> None:
        """The book moves towards the vectors of all processes; codes out of use begin anew."""
        assert self.decay is not None
        with torch.autocast(rows.device.type, enabled=False):
            used, sums = chosen.sum(dim=0), chosen.T @ rows
        fresh = rows[torch.randint(len(rows), (self.codes,), device=rows.device)]
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(used)
            distributed.all_reduce(sums)
            distributed.broadcast(fresh, 0)
        self.used.lerp_(used, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        mean = self.used.mean()
        idle = self.used < self.revive * mean
        self.used.copy_(torch.where(idle, mean, self.used))
        self.sums.copy_(torch.where(idle.unsqueeze(1), fresh * mean, self.sums))
        self.book.copy_(self.sums / self.used.clamp(min=_SMALL).unsqueeze(1))
