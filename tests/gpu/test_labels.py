"""Labels that are no class, on a device that is not waited for: told when numbers are read."""

from __future__ import annotations

import pytest
import torch

from cvtrainer.core.errors import UserError
from tests.meters.test_meters import NO_LABELS, OF_CLASSES, ONE_OF_ROWS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICE = "cuda"


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_number_beyond_the_classes(name: str) -> None:
    meter, scores = OF_CLASSES[name](), torch.eye(3, device=DEVICE)[[0, 1, 2, 0]]
    labels = torch.tensor([0, 1, 2, 3], device=DEVICE)
    if name == "boundary_f":
        scores = scores[:, :, None, None].repeat(1, 1, 2, 2)
        labels = labels[:, None, None].repeat(1, 2, 2)
    meter.update(scores, labels)
    with pytest.raises(UserError, match=NO_LABELS):
        meter.compute()


@pytest.mark.parametrize("name", [name for name in ONE_OF_ROWS if name != "boundary_f"])
def test_a_row_of_several_labels(name: str) -> None:
    meter, rows = OF_CLASSES[name](), torch.eye(3, device=DEVICE)
    rows[2, 0] = 1.0
    meter.update(torch.eye(3, device=DEVICE), rows)
    with pytest.raises(UserError, match="1 labels are none"):
        meter.compute()
