#!/bin/sh
# What the tests marked `images` need, on Debian or Ubuntu, as root, without any registry of images.
#
#   engines.sh install       apt-get: buildah, podman, runc, mmdebstrap (31 MB)
#   engines.sh bases         two base images, made from Ubuntu's packages (2 minutes, 1 GB):
#                            localhost/standin-slim:24.04 and localhost/standin-devel:13.0
#   engines.sh clean         remove the images and all else that the tests keep
#   engines.sh env           print the variables that make podman and buildah use the tests' own storage
#
# They stand for ubuntu:24.04 and nvidia/cuda:13.0.1-devel-ubuntu24.04: Ubuntu 24.04 with Python 3.12 to come, the second
# with g++, make and the CUDA toolkit of CUDA_HOME (default /usr/local/cuda). The host's certificates are baked in. Where
# the host is no Ubuntu, WHEELSMITH_UBUNTU_KEYRING names Ubuntu's keyring (from its package ubuntu-keyring; the key is
# F6EC B376 2474 EDA9 D21B  7022 8719 20D1 991B C93C).
set -eu

HOME_OF_IMAGES=${WHEELSMITH_IMAGES_HOME:-/var/tmp/wheelsmith-images}
SUITE=noble
KEYRING=${WHEELSMITH_UBUNTU_KEYRING:-/usr/share/keyrings/ubuntu-archive-keyring.gpg}
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

export CONTAINERS_CONF="$HOME_OF_IMAGES/containers.conf"
export CONTAINERS_STORAGE_CONF="$HOME_OF_IMAGES/storage.conf"

configure() {
    mkdir -p "$HOME_OF_IMAGES"
    # runc, as crun fails on hybrid cgroups; limits, as `podman run` fails on those of the service manager.
    cat > "$CONTAINERS_CONF" <<CONF
[containers]
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
    cat > "$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "overlay"
graphroot = "$HOME_OF_IMAGES/storage"
runroot = "$HOME_OF_IMAGES/run"
CONF
}

bases() {
    configure
    if ! podman image exists localhost/standin-slim:24.04; then
        mmdebstrap --quiet --variant=minbase --include=apt,ca-certificates --components=main,universe \
            --keyring="$KEYRING" \
            --customize-hook="copy-in $CERTIFICATES /etc/ssl/certs" "$SUITE" - |
            podman import --quiet \
                --change "ENV SSL_CERT_FILE=$CERTIFICATES" \
                --change "ENV PIP_CERT=$CERTIFICATES" \
                --change "ENV REQUESTS_CA_BUNDLE=$CERTIFICATES" \
                --change "CMD /bin/bash" - localhost/standin-slim:24.04
    fi
    if ! podman image exists localhost/standin-devel:13.0; then
        container=$(buildah from --pull-never localhost/standin-slim:24.04)
        buildah run --isolation oci --network host "$container" -- sh -c \
            'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends g++ make >/dev/null && rm -rf /var/lib/apt/lists/*'
        buildah copy --quiet "$container" "$(realpath "${CUDA_HOME:-/usr/local/cuda}")" /usr/local/cuda
        buildah config --env CUDA_HOME=/usr/local/cuda --env 'PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$container"
        buildah commit --quiet --rm "$container" localhost/standin-devel:13.0
    fi
}

case ${1:-} in
install)
    apt-get update
    apt-get install --yes --no-install-recommends buildah podman runc netavark conmon mmdebstrap
    ;;
bases) bases ;;
clean)
    if [ -d "$HOME_OF_IMAGES" ]; then
        configure
        podman rm --all --force >/dev/null 2>&1 || true
        buildah rm --all >/dev/null 2>&1 || true
        podman rmi --all --force >/dev/null 2>&1 || true
        umount "$HOME_OF_IMAGES/storage/overlay" 2>/dev/null || true
        rm -rf "$HOME_OF_IMAGES"
    fi
    ;;
env)
    configure
    echo "CONTAINERS_CONF=$CONTAINERS_CONF"
    echo "CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF"
    ;;
*)
    echo "usage: engines.sh install|bases|clean|env" >&2
    exit 2
    ;;
esac
