# Every stage for several sets of GPUs and Pythons. `docker buildx bake --print` shows what would be built,
# `docker buildx bake` builds all, `docker buildx bake runtime-5090-a40-py312` one. podman and buildah know no bake files:
# the same arguments go to them with --build-arg.

variable "REGISTRY" {
  default = "registry.example/me"
}

variable "REQUIREMENT" {
  default = "vllm==0.15.1"
}

variable "TAG" {
  default = "0.15.1-cu128"
}

# A package index of your own, and a netrc file with its token.
variable "PIP_INDEX_URL" {
  default = ""
}

variable "NETRC" {
  default = ""
}

# Time of all that the layers hold, in seconds since 1970: 2020-01-01, as in the wheels.
variable "SOURCE_DATE_EPOCH" {
  default = "1577836800"
}

group "default" {
  targets = ["image"]
}

target "image" {
  matrix = {
    stage = ["wheels", "runtime", "runpod"]
    gpus = [
      { name = "5090-a40", list = "RTX 5090,A40" },
      { name = "5090", list = "RTX 5090" },
      { name = "h100", list = "H100" },
    ]
    # Python comes with the distribution. A digest may follow a tag: name:tag@sha256:…
    python = [
      { name = "py312", devel = "docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04", runtime = "docker.io/library/ubuntu:24.04" },
    ]
  }
  name   = "${stage}-${gpus.name}-${python.name}"
  target = stage
  args = {
    BASE_IMAGE        = python.devel
    RUNTIME_IMAGE     = python.runtime
    REQUIREMENT       = REQUIREMENT
    GPUS              = gpus.list
    PIP_INDEX_URL     = PIP_INDEX_URL
    SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH
  }
  secret = NETRC != "" ? ["id=netrc,src=${NETRC}"] : []
  tags   = stage != "wheels" ? ["${REGISTRY}/${stage}:${TAG}-${gpus.name}-${python.name}"] : []
  output = stage != "wheels" ? [] : ["type=local,dest=dist/${gpus.name}-${python.name}"]
}
