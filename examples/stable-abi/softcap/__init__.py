"""cap * tanh(x / cap) on a GPU."""

from pathlib import Path

import torch

torch.ops.load_library(next(Path(__file__).parent.glob("_C*.so")))


def softcap(x: torch.Tensor, cap: float) -> torch.Tensor:
    """`x`, contiguous, float32 or float16, on a GPU, bent smoothly so that no value leaves -cap … cap."""
    return torch.ops.softcap.softcap(x, cap)
