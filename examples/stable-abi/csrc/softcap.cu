// cap * tanh(x / cap), through torch's stable C interface alone: built once, it loads with torch 2.11 and every later one.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace {

// torch compiles extensions without the operators of __half.
__device__ float wide(float x) { return x; }
__device__ float wide(__half x) { return __half2float(x); }
__device__ void narrow(float x, float* to) { *to = x; }
__device__ void narrow(float x, __half* to) { *to = __float2half(x); }

template <typename T>
__global__ void softcap_kernel(const T* in, T* out, float cap, int64_t count) {
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < count; i += int64_t(gridDim.x) * blockDim.x)
    narrow(cap * tanhf(wide(in[i]) / cap), out + i);
}

template <typename T>
void launch(const Tensor& in, Tensor& out, float cap, cudaStream_t stream) {
  const int threads = 256;
  const int64_t blocks = (in.numel() + threads - 1) / threads;
  softcap_kernel<T><<<int(blocks < 4096 ? blocks : 4096), threads, 0, stream>>>(
      static_cast<const T*>(in.data_ptr()), static_cast<T*>(out.data_ptr()), cap, in.numel());
  STD_TORCH_CHECK(cudaGetLastError() == cudaSuccess, "softcap: the kernel was not started");
}

Tensor softcap(Tensor in, double cap) {
  STD_TORCH_CHECK(in.is_cuda() && in.is_contiguous(), "softcap: a contiguous tensor on a GPU is needed");
  const torch::stable::accelerator::DeviceGuard guard(in.get_device_index());
  Tensor out = torch::stable::empty_like(in);
  if (in.numel() == 0) return out;
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(in.get_device_index(), &stream));
  switch (in.scalar_type()) {
    case ScalarType::Float:
      launch<float>(in, out, float(cap), static_cast<cudaStream_t>(stream));
      break;
    case ScalarType::Half:
      launch<__half>(in, out, float(cap), static_cast<cudaStream_t>(stream));
      break;
    default:
      STD_TORCH_CHECK(false, "softcap: float32 or float16");
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY(softcap, m) { m.def("softcap(Tensor x, float cap) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(softcap, CUDA, m) { m.impl("softcap", TORCH_BOX(&softcap)); }
