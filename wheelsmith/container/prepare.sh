# Run in an image by wheelsmith.container.builder_image, as root: `tools WHEEL` makes /opt/wheelsmith, with what compiles
# beside CUDA; `python X.Y` fetches that Python, if the image has none. Secrets are files that no layer holds.
set -eu

say() { echo "wheelsmith: $*" >&2; }

# Whether this Python runs wheelsmith, and extensions can be built for it.
fit() {
    "$1" -c 'import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(sys.version_info < (3, 11, 4) or not os.path.isfile(header))' 2> /dev/null
}

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" > /dev/null && fit "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

has_all() {
    for name in g++ git make; do command -v "$name" > /dev/null || return 1; done
    find_python > /dev/null
}

# What the caller trusts, together with what the image trusts.
trust() {
    [ -s /run/secrets/authorities ] || return 0
    cat /run/secrets/authorities "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" > /tmp/authorities.pem \
        2> /dev/null || true
    export SSL_CERT_FILE=/tmp/authorities.pem PIP_CERT=/tmp/authorities.pem REQUESTS_CA_BUNDLE=/tmp/authorities.pem
}

log_in() {
    [ ! -s /run/secrets/netrc ] || export NETRC=/run/secrets/netrc
}

tools() {
    # What is there already is not installed again: an image of your own needs no mirror of its distribution.
    if ! has_all; then
        if command -v apt-get > /dev/null; then
            apt-get update
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                ca-certificates g++ git make python3 python3-dev python3-venv
            rm -rf /var/lib/apt/lists/*
        elif command -v dnf > /dev/null; then
            dnf install --assumeyes ca-certificates gcc-c++ git make python3.12 python3.12-devel
            dnf clean all
        elif ls /lib/ld-musl-* > /dev/null 2>&1; then
            say "this image has musl for a C library: CUDA's compilers and manylinux wheels need glibc"
            exit 1
        else
            say "this image lacks one of g++, git, make and a Python with venv and Python.h, and has neither apt-get nor dnf"
            exit 1
        fi
    fi
    if ! python=$(find_python); then
        say "this image has $(python3 -V 2>&1 || true), and wheelsmith needs 3.11.4 or newer, with venv and Python.h"
        exit 1
    fi
    trust
    log_in
    if [ -s /run/secrets/index ]; then
        PIP_INDEX_URL=$(cat /run/secrets/index)
        export PIP_INDEX_URL
    fi
    "$python" -m venv /opt/wheelsmith
    /opt/wheelsmith/bin/pip install --quiet --no-cache-dir "$1"
    rm -f /tmp/authorities.pem
}

python() {
    if command -v "python$1" > /dev/null; then return; fi
    say "Python $1 is not in this image (its own is $(/opt/wheelsmith/bin/python -V)): fetching it"
    trust
    log_in
    if [ -s /run/secrets/mirror ]; then
        UV_PYTHON_INSTALL_MIRROR=$(cat /run/secrets/mirror)
        export UV_PYTHON_INSTALL_MIRROR
    fi
    /opt/wheelsmith/bin/uv python install "$1"
    rm -f /tmp/authorities.pem
}

"$@"
