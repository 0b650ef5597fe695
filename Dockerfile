# Compile in the CUDA devel image, install into a slim one.
#
#   docker build --target wheels --output dist .                       the wheel and its index, into ./dist
#   docker build --tag my-runtime .                                    an image with the package installed
#
# No `# syntax` line, no heredocs, no `RUN --network`: it builds with BuildKit, podman and buildah, offline too.

ARG BASE_IMAGE=nvidia/cuda:12.8.1-devel-ubuntu24.04
ARG RUNTIME_IMAGE=ubuntu:24.04

# ---- builder: CUDA toolkit, Python with headers, wheelsmith -------------------------------------------------------
FROM ${BASE_IMAGE} AS builder

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The distribution removes old package versions from its mirrors: pinning them here would break the build, not fix it.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ca-certificates g++ git make python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /opt/wheelsmith/
COPY wheelsmith /opt/wheelsmith/wheelsmith
COPY recipes /opt/wheelsmith/recipes
ENV PIP_CACHE_DIR=/var/cache/pip
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/venv && /opt/venv/bin/python -m pip install --quiet /opt/wheelsmith

ARG REQUIREMENT="vllm==0.15.1"
ARG GPUS="RTX 5090,A40"
# Sources, environments and finished units stay in the cache mount: a build that failed continues there.
RUN --mount=type=cache,target=/var/cache/wheelsmith,sharing=locked \
    /opt/venv/bin/wheelsmith build "${REQUIREMENT}" --gpu "${GPUS}" \
      --store /var/cache/wheelsmith --index /dist

# ---- wheels: the wheel and its package index, nothing else -------------------------------------------------------
FROM scratch AS wheels
COPY --from=builder /dist /

# ---- runtime: no compiler, no cache, not root --------------------------------------------------------------------
FROM ${RUNTIME_IMAGE} AS runtime

# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 app
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/venv && PIP_CACHE_DIR=/var/cache/pip /opt/venv/bin/python -m pip install --quiet /wheels/*.whl
ENV PATH=/opt/venv/bin:${PATH}
USER 10001
WORKDIR /home/app
CMD ["python3"]
