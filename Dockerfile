# Compile in the CUDA devel image, install into a slim one. docs/containers.md says more.
#
#   docker build --target wheels --output dist .           the wheel, its index, SBOM and report, into ./dist
#   docker build --target runtime --tag my-runtime .       an image with the package installed
#   docker build --target runpod --tag my-worker .         the same with RunPod's SDK and a handler for vLLM
#
# No `# syntax` line, no heredocs, no `RUN --network`, no `COPY --link`: it builds with BuildKit, podman and buildah, old
# and new, offline too. A digest may follow a tag: BASE_IMAGE=docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04@sha256:…
# The registry is part of the names, as podman and buildah ask nobody for a short one where Debian installed them.

ARG BASE_IMAGE=docker.io/nvidia/cuda:12.8.1-devel-ubuntu24.04
ARG RUNTIME_IMAGE=docker.io/library/ubuntu:24.04

# ---- tools: CUDA toolkit, Python with headers, wheelsmith ---------------------------------------------------------
FROM ${BASE_IMAGE} AS tools
# A base image may say who runs; here it is root that installs.
# hadolint ignore=DL3002
USER 0

# What the base image has is not installed again: an image of your own needs no mirror of its distribution. And the
# distribution removes old package versions from its mirrors: pinning them here would break the build, not fix it.
# hadolint ignore=DL3008
RUN { command -v g++ && command -v git && command -v make && python3 -c 'import ensurepip' \
      && test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; } > /dev/null 2>&1 \
 || { apt-get update \
   && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates g++ git make python3 python3-dev python3-venv \
   && rm -rf /var/lib/apt/lists/*; }

# A package index of your own (no credentials: they come as --secret id=netrc,src=$HOME/.netrc and stay in no layer).
ARG PIP_INDEX_URL=""
COPY pyproject.toml README.md LICENSE /opt/wheelsmith/
COPY wheelsmith /opt/wheelsmith/wheelsmith
COPY recipes /opt/wheelsmith/recipes
RUN --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \
    if [ -f /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi \
 && python3 -m venv /opt/venv && PIP_CACHE_DIR=/var/cache/pip /opt/venv/bin/pip install --quiet /opt/wheelsmith

# ---- builder: compile, prove, seal; sources, environments and finished units stay in the cache mount --------------
FROM tools AS builder

ARG REQUIREMENT="vllm==0.15.1"
ARG GPUS="RTX 5090,A40"
ARG TOOLKIT=auto
ARG PIP_INDEX_URL=""
# A build that failed continues there. Further options of `wheelsmith build` (--cuda 13.0, --jobs 4) go into OPTIONS.
ARG OPTIONS=""
# hadolint ignore=SC2086
RUN --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/wheelsmith,sharing=locked \
    if [ -f /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi \
 && export UV_CACHE_DIR=/var/cache/wheelsmith/uv \
 && /opt/venv/bin/wheelsmith build "${REQUIREMENT}" --gpu "${GPUS}" --toolkit "${TOOLKIT}" --container none ${OPTIONS} \
      --store /var/cache/wheelsmith --index /dist \
 && /opt/venv/bin/wheelsmith image parts /dist/*.whl --output /dist

# ---- wheels: the wheel, its index, SBOM, report, hashes, dependencies and preflight program; nothing else ---------
FROM scratch AS wheels
COPY --from=builder /dist /

# ---- installer: pip, which the runtime does not need --------------------------------------------------------------
FROM ${RUNTIME_IMAGE} AS installer
# hadolint ignore=DL3002
USER 0

# hadolint ignore=DL3008
RUN python3 -c 'import ensurepip' 2> /dev/null \
 || { apt-get update \
   && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates python3 python3-venv; }
RUN python3 -m venv /opt/pip
# pip into /opt/venv, then bytecode without times in it, of what is new.
# hadolint ignore=SC2016
RUN printf '%s\n' '#!/bin/sh' 'set -eu' \
      'if [ -f /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi' \
      'touch /tmp/before' \
      'export PIP_CACHE_DIR=/var/cache/pip PIP_EXTRA_INDEX_URL=' \
      '/opt/pip/bin/pip --python /opt/venv/bin/python install --quiet --no-compile "$@"' \
      'compile="/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash"' \
      'find /opt/venv/lib -name "*.py" -newer /tmp/before -exec $compile {} + || echo "not all of it compiles"' \
      'rm /tmp/before' > /opt/install-packages \
 && chmod 755 /opt/install-packages

# ---- runtime: no compiler, no pip, no cache, not root -------------------------------------------------------------
FROM ${RUNTIME_IMAGE} AS runtime
# hadolint ignore=DL3002
USER 0

# Packages of the distribution that your package needs when it runs. Triton, and so vLLM with torch.compile, starts a C
# compiler: RUNTIME_PACKAGES="gcc libc6-dev python3-dev".
ARG RUNTIME_PACKAGES=""
# hadolint ignore=DL3008,SC2086
RUN { test -z "${RUNTIME_PACKAGES}" && python3 -c '' 2> /dev/null \
   || { apt-get update \
     && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
          ca-certificates python3 ${RUNTIME_PACKAGES}; }; } \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && useradd --create-home --uid 10001 app \
 && python3 -m venv --without-pip /opt/venv

# What the wheel requires from elsewhere: a layer that stays when only the wheel changes.
ARG PIP_INDEX_URL=""
# (buildah 1.28 waits for a stage that is copied from, not for one that is only mounted.)
COPY --from=installer /opt/install-packages /opt/wheelsmith/
COPY --from=wheels /dependencies.txt /opt/wheelsmith/
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \
    --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \
    /opt/wheelsmith/install-packages --requirement /opt/wheelsmith/dependencies.txt
# The wheel itself, by hash. (The copy decides whether this layer is still good: not every engine looks into mounts.)
COPY --from=wheels /requirements.txt /preflight.pyz /opt/wheelsmith/
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/wheelsmith/install-packages --no-index --find-links /wheels --no-deps --require-hashes \
      --requirement /opt/wheelsmith/requirements.txt

ENV PATH=/opt/venv/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /home/app
# Says what is wrong with GPU, driver or wheel before anything starts; WHEELSMITH_PREFLIGHT=warn|off is the way out.
ENTRYPOINT ["python3", "-I", "/opt/wheelsmith/preflight.pyz"]
CMD ["python3"]

# ---- runpod: the runtime, RunPod's SDK, and a handler that starts vLLM --------------------------------------------
FROM runtime AS runpod

ARG RUNPOD="runpod==1.12.0"
ARG PYDANTIC="pydantic==2.14.3"
ARG PIP_INDEX_URL=""
# hadolint ignore=DL3002
USER 0
RUN --mount=type=bind,from=installer,source=/opt/pip,target=/opt/pip \
    --mount=type=secret,id=netrc --mount=type=cache,target=/var/cache/pip \
    /opt/wheelsmith/install-packages "${RUNPOD}" "${PYDANTIC}"
COPY examples/runpod/handler.py /opt/runpod/handler.py
USER 10001
CMD ["python3", "/opt/runpod/handler.py"]
