"""Where the filling around a picture begins, in each of a detector's maps."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from data_miner_export.families.grounding_dino import nearest


@settings(deadline=None)
@given(st.integers(1, 1400), st.data())
def test_a_mask_is_made_smaller_as_pytorch_does_it(there: int, data: st.DataObject) -> None:
    """To the place: pictures end exactly at one, such as 420 rows of 480 in a map of 8."""
    wanted = data.draw(st.integers(1, there))
    rows = torch.arange(there, dtype=torch.float32)[None, None]
    expected = functional.interpolate(rows, size=wanted)[0, 0].to(torch.int64)
    assert nearest(there, wanted) == expected.tolist()
