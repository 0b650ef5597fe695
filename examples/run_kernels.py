"""Run the kernels of installed wheels on this machine's GPU and compare them with numpy's and torch's own results.

    python examples/run_kernels.py

Needs cuvec and causal-conv1d (as wheelsmith builds them), numpy, torch, and a GPU. Prints a line per check and exits
with 1 if one is off.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

CHECKS: list[tuple[str, float, float]] = []


def check(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Record the largest relative error."""
    error = float((found.detach().float() - expected.detach().float()).norm() / expected.detach().float().norm())
    CHECKS.append((name, error, tolerance))


def cuvec_increment() -> None:
    """cuvec's example kernel adds 1 to a 2-D array in managed memory."""
    import cuvec.cpython as cv
    from cuvec import example_cpython

    source = cv.asarray(np.random.default_rng(0).random((1337, 42), dtype="float32"))
    result = np.asarray(cv.asarray(example_cpython.increment2d_f(source.cuvec)))
    torch.cuda.synchronize()
    check("cuvec increment2d_f, 1337 x 42 float32", torch.from_numpy(result.copy()), torch.from_numpy(source + 1), 1e-6)


def causal_convolution(dtype: torch.dtype, tolerance: float) -> None:
    """causal_conv1d forward and backward against torch's grouped convolution in float64."""
    from causal_conv1d import causal_conv1d_fn

    torch.manual_seed(0)
    batch, channels, length, width = 4, 768, 2048, 4
    values = [torch.randn(batch, channels, length), torch.randn(channels, width), torch.randn(channels)]
    ours = [value.cuda().to(dtype).requires_grad_() for value in values]
    reference = [value.detach().double().requires_grad_() for value in ours]
    x, weight, bias = reference
    expected = functional.silu(functional.conv1d(x, weight[:, None], bias, padding=width - 1, groups=channels))
    expected = expected[..., :length]
    found = causal_conv1d_fn(*ours, activation="silu")
    gradient = torch.randn_like(found)
    found.backward(gradient)
    expected.backward(gradient.double())
    name = str(dtype).removeprefix("torch.")
    check(f"causal_conv1d forward, 4 x 768 x 2048, width 4, silu, {name}", found, expected, tolerance)
    for label, one, other in zip(("x", "weight", "bias"), ours, reference, strict=True):
        if one.grad is not None and other.grad is not None:
            check(f"causal_conv1d gradient of {label}, {name}", one.grad, other.grad, tolerance)


def main() -> int:
    """Run all checks and print them."""
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    print(f"{torch.cuda.get_device_name()} (compute capability {capability}), torch {torch.__version__}")
    cuvec_increment()
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)):
        causal_convolution(dtype, tolerance)
    bad = 0
    for name, error, tolerance in CHECKS:
        ok = error < tolerance
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'}  relative error {error:.1e} (allowed {tolerance:.0e})  {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
