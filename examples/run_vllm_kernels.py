"""Run kernels of an installed vLLM wheel on this machine's GPU and compare them with torch's own results.

    python examples/run_vllm_kernels.py

Needs the wheel (its dependencies are not imported), torch, and a GPU. Loads the extensions `_C` and `_moe_C` as they
are, prints a line per check and exits with 1 if one is off.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch.nn import functional

CHECKS: list[tuple[str, float, float]] = []


def check(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Record the error relative to the expected values, in the Euclidean norm."""
    error = float((found.double() - expected.double()).norm() / expected.double().norm())
    CHECKS.append((name, error, tolerance))


def load(package: Path) -> ModuleType:
    """Load the extensions into torch and return vLLM's module of quantized types."""
    for name in ("_C", "_moe_C"):
        (library,) = package.glob(f"{name}.*so")
        torch.ops.load_library(str(library))
    spec = importlib.util.spec_from_file_location("scalar_type", package / "scalar_type.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} holds no scalar_type.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scalar_type"] = module
    spec.loader.exec_module(module)
    return module


def elementwise() -> None:
    """Norms and activations, the units that every model uses."""
    x = torch.randn(257, 4096, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(4096, device="cuda", dtype=torch.bfloat16)
    out = torch.empty_like(x)
    torch.ops._C.rms_norm(out, x, weight, 1e-6)
    check("rms_norm, 257 x 4096 bfloat16", out, functional.rms_norm(x.double(), (4096,), weight.double(), 1e-6), 5e-3)

    residual = torch.randn_like(x)
    added = x.double() + residual.double()
    fused, carried = x.clone(), residual.clone()
    torch.ops._C.fused_add_rms_norm(fused, carried, weight, 1e-6)
    expected = functional.rms_norm(added, (4096,), weight.double(), 1e-6)
    check("fused_add_rms_norm, 257 x 4096 bfloat16", fused, expected, 8e-3)
    check("fused_add_rms_norm, its residual", carried, added, 5e-3)

    out = torch.empty(257, 2048, device="cuda", dtype=torch.bfloat16)
    torch.ops._C.silu_and_mul(out, x)
    gate, up = x.double().chunk(2, dim=-1)
    check("silu_and_mul, 257 x 2048 bfloat16", out, functional.silu(gate) * up, 8e-3)


def four_bit(rows: int, columns: int, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random 4-bit weights [rows, columns] and their scales, one for each `group` of rows."""
    values = torch.randint(0, 16, (rows, columns), device="cuda", dtype=torch.int32)
    scales = torch.rand(rows // group, columns, device="cuda").half() * 0.05 + 0.01
    return values, scales


def gptq_pack(values: torch.Tensor) -> torch.Tensor:
    """Eight rows into one int32, the first row lowest (GPTQ's layout)."""
    parts = values.reshape(values.shape[0] // 8, 8, values.shape[1]).long()
    shifts = torch.arange(0, 32, 4, device="cuda").reshape(1, 8, 1)
    return (parts << shifts).sum(1).to(torch.int32)


def awq_pack(values: torch.Tensor) -> torch.Tensor:
    """Eight columns into one int32, in AWQ's interleaved order."""
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7], device="cuda")
    parts = values.reshape(values.shape[0], values.shape[1] // 8, 8)[:, :, order].long()
    return (parts << torch.arange(0, 32, 4, device="cuda")).sum(-1).to(torch.int32)


def marlin_scales(scales: torch.Tensor) -> torch.Tensor:
    """The order in which Marlin's threads read grouped scales."""
    order = [i + 8 * j for i in range(8) for j in range(8)]
    return scales.reshape(-1, 64)[:, order].reshape(scales.shape).contiguous()


def quantized_products(types: ModuleType) -> None:
    """Marlin, AWQ and the FP8 product of CUTLASS."""
    size_m, size_n, size_k, group = 33, 1024, 2048, 128
    for dtype in (torch.float16, torch.bfloat16):
        values, half_scales = four_bit(size_k, size_n, group)
        scales = half_scales.to(dtype)
        a = torch.randn(size_m, size_k, device="cuda", dtype=dtype)
        nothing = torch.empty(0, dtype=torch.int, device="cuda")
        weight = torch.ops._C.gptq_marlin_repack(gptq_pack(values), nothing, size_k, size_n, 4, False)
        processors = torch.cuda.get_device_properties(0).multi_processor_count
        workspace = torch.zeros(processors, dtype=torch.int, device="cuda")
        found = torch.ops._C.marlin_gemm(
            a, None, weight, None, marlin_scales(scales), None, None, None, None, None, workspace,
            types.scalar_types.uint4b8.id, size_m, size_n, size_k, True, False, True, False,
        )  # fmt: skip
        dense = (values.double() - 8) * scales.double().repeat_interleave(group, 0)
        name = f"marlin_gemm, uint4b8 in groups of 128, {size_m} x {size_k} x {size_n}, {str(dtype)[6:]}"
        check(name, found, a.double() @ dense, 5e-3)

    values, scales = four_bit(size_k, size_n, group)
    zeros = torch.randint(0, 16, (size_k // group, size_n), device="cuda", dtype=torch.int32)
    a = torch.randn(size_m, size_k, device="cuda", dtype=torch.float16)
    found = torch.ops._C.awq_gemm(a, awq_pack(values), scales, awq_pack(zeros), 8)
    spread = zeros.double().repeat_interleave(group, 0)
    dense = (values.double() - spread) * scales.double().repeat_interleave(group, 0)
    check(f"awq_gemm, groups of 128, {size_m} x {size_k} x {size_n}, float16", found, a.double() @ dense, 5e-3)

    if torch.cuda.get_device_capability() >= (8, 9):
        eight = torch.float8_e4m3fn
        left = torch.randn(size_m, size_k, device="cuda").to(eight)
        right = torch.randn(size_n, size_k, device="cuda").to(eight).t()
        by_row, by_column = torch.rand(size_m, 1, device="cuda"), torch.rand(1, size_n, device="cuda")
        out = torch.empty(size_m, size_n, device="cuda", dtype=torch.bfloat16)
        torch.ops._C.cutlass_scaled_mm(out, left, right, by_row, by_column, None)
        expected = (left.double() @ right.double()) * by_row.double() * by_column.double()
        check(f"cutlass_scaled_mm, {size_m} x {size_k} x {size_n}, float8_e4m3fn", out, expected, 5e-3)


def mixture_of_experts(types: ModuleType) -> None:
    """Routing, and Marlin's product over the experts that it chose."""
    tokens, experts, top, size_n, size_k, group, block = 40, 8, 2, 512, 1024, 128, 16
    logits = torch.randn(tokens, experts, device="cuda")
    weights = torch.empty(tokens, top, device="cuda")
    chosen = torch.empty(tokens, top, device="cuda", dtype=torch.int32)
    source = torch.empty_like(chosen)
    torch.ops._moe_C.topk_softmax(weights, chosen, source, logits, False, None)
    expected, indices = logits.double().softmax(-1).topk(top)
    check("topk_softmax, 40 tokens, 2 of 8 experts", weights, expected, 1e-5)
    check("topk_softmax, its choice", chosen + 1, indices + 1, 1e-9)

    padded = tokens * top + experts * (block - 1)
    order = torch.empty(padded, device="cuda", dtype=torch.int32)
    owners = torch.empty(-(-padded // block), device="cuda", dtype=torch.int32)
    total = torch.empty(1, device="cuda", dtype=torch.int32)
    torch.ops._moe_C.moe_align_block_size(chosen, experts, block, order, owners, total, None)
    a = torch.randn(tokens, size_k, device="cuda", dtype=torch.bfloat16)
    packed, scales, dense = [], [], []
    nothing = torch.empty(0, dtype=torch.int, device="cuda")
    for _ in range(experts):
        values, scale = four_bit(size_k, size_n, group)
        scale = scale.to(torch.bfloat16)
        packed.append(torch.ops._C.gptq_marlin_repack(gptq_pack(values), nothing, size_k, size_n, 4, False))
        scales.append(marlin_scales(scale))
        dense.append((values.double() - 8) * scale.double().repeat_interleave(group, 0))
    processors = torch.cuda.get_device_properties(0).multi_processor_count
    found = torch.ops._moe_C.moe_wna16_marlin_gemm(
        a, None, torch.stack(packed), None, torch.stack(scales), None, None, None, None, None,
        torch.zeros(processors * 4, dtype=torch.int, device="cuda"), order, owners, total, weights, block, top, False,
        types.scalar_types.uint4b8.id, tokens, size_n, size_k, True, False, True, False, -1, -1, -1,
    )  # fmt: skip
    expected = torch.stack([a[i].double() @ dense[int(chosen[i, j])] for i in range(tokens) for j in range(top)])
    name = f"moe_wna16_marlin_gemm, uint4b8, {tokens} tokens, {top} of {experts} experts, {size_k} x {size_n}, bfloat16"
    check(name, found, expected, 5e-3)


def main() -> int:
    """Run all checks and print them."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        print("vllm is not installed", file=sys.stderr)
        return 1
    types = load(Path(spec.origin).parent)
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    print(f"{torch.cuda.get_device_name()} (compute capability {capability}), torch {torch.__version__}")
    torch.manual_seed(0)
    elementwise()
    quantized_products(types)
    mixture_of_experts(types)
    bad = 0
    for name, error, tolerance in CHECKS:
        ok = error < tolerance
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'}  relative error {error:.1e} (allowed {tolerance:.0e})  {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
