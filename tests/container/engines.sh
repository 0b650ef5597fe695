#!/bin/sh
# What the tests marked `images` need, on Debian or Ubuntu, without any registry of images. `make test-images` calls it.
#
#   engines.sh install       as root: apt-get what is missing of podman, buildah, mmdebstrap and what they need (31 MB)
#   engines.sh bases         the base images, made from Debian's packages, for root or an ordinary user (12 minutes on
#                            two slow cores, 1 GB of downloads, 5 GB of disk):
#     localhost/standin-slim:13            Debian 13, for ubuntu:24.04
#     localhost/standin-devel:12.4         Debian 13 with CUDA 12.4.131 as Debian has it, in /usr; g++ is 14, g++-13 there
#     localhost/standin-devel-nv:12.4      the same CUDA as NVIDIA lays it out, in /usr/local/cuda-12.4; g++ is 13, and
#                                          the headers go together with this glibc
#     localhost/standin-devel-nv:12.4-new  that as NVIDIA has it: g++ is 14, and the glibc is too new for the headers
#   engines.sh give USER     as root: the slim image and Debian's devel image for that user's podman and buildah
#   engines.sh clean         remove the images and all else that the tests keep
#   engines.sh env           print the variables that make podman and buildah use the tests' own storage
#
# The host's certificates are baked in. CUDA comes without the math libraries' static archives.
set -eu

HOME_OF_IMAGES=${WHEELSMITH_IMAGES_HOME:-/var/tmp/wheelsmith-images-$(id -u)}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
SELF=$(realpath "$0")
CUDA_PACKAGES="nvidia-cuda-toolkit nvidia-cuda-dev libcudart12 libcu++-dev libcub-dev libthrust-dev libnvvm4
libnvidia-ml-dev nvidia-profiler"
TOOLS="git g++ g++-13 make python3 python3-dev python3-venv"

export CONTAINERS_CONF="$HOME_OF_IMAGES/containers.conf"
export CONTAINERS_STORAGE_CONF="$HOME_OF_IMAGES/storage.conf"

install_engines() {
    missing=
    for package in buildah podman runc netavark conmon mmdebstrap uidmap slirp4netns fuse-overlayfs debian-archive-keyring \
        ca-certificates; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    apt-get update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
}

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
rootless_storage_path = "$HOME_OF_IMAGES/storage"
CONF
}

# Debian 13 as an image.
slim() {
    ! podman image exists localhost/standin-slim:13 || return 0
    # Debian's mirror that this machine uses; without one, mmdebstrap's own.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -n 1)
    mmdebstrap --quiet --variant=minbase --include=ca-certificates --keyring="$KEYRING" \
        --components=main,contrib,non-free,non-free-firmware \
        --customize-hook="copy-in $CERTIFICATES /etc/ssl/certs" trixie - ${mirror:+"$mirror"} > "$HOME_OF_IMAGES/slim.tar"
    podman import --quiet \
        --change "ENV SSL_CERT_FILE=$CERTIFICATES" \
        --change "ENV PIP_CERT=$CERTIFICATES" \
        --change "ENV REQUESTS_CA_BUNDLE=$CERTIFICATES" \
        --change "CMD /bin/bash" "$HOME_OF_IMAGES/slim.tar" localhost/standin-slim:13
    rm "$HOME_OF_IMAGES/slim.tar"
}

inside() { buildah run --isolation oci --network host "$@"; }

# CUDA from Debian 13's packages, as a tree to copy into an image: as Debian has it, and as NVIDIA lays it out.
cuda() {
    tree="$HOME_OF_IMAGES/cuda"
    ! [ -e "$tree/done" ] || return 0
    rm -rf "$tree"
    mkdir -p "$tree/debs" "$tree/debian" "$tree/nvidia"
    container=$(buildah from --pull-never localhost/standin-slim:13)
    # As root of the container, who may own them: apt's own user may not write here.
    inside --volume "$tree/debs:/debs" "$container" -- sh -c \
        "cd /debs && apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root $(echo $CUDA_PACKAGES)"
    buildah rm "$container" >/dev/null
    for deb in "$tree"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree/debian" --no-same-owner --keep-directory-symlink \
            --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/lintian*' \
            --exclude='./usr/lib/x86_64-linux-gnu/lib[!c]*.a' --exclude='./usr/lib/x86_64-linux-gnu/libcu[!dl]*.a'
    done
    cp -a --reflink=auto "$tree/debian/." "$tree/nvidia-work"
    nvidia_layout "$tree/nvidia-work" "$tree/nvidia"
    rm -rf "$tree/nvidia-work"
    touch "$tree/done"
}

nvidia_layout() {
    from=$1/usr
    root=$2/usr/local/cuda-12.4
    libraries=$from/lib/x86_64-linux-gnu
    mkdir -p "$root/bin" "$root/nvvm" "$root/lib64"
    mv "$from/lib/nvidia-cuda-toolkit/libdevice" "$root/nvvm/"
    mkdir "$root/nvvm/bin"
    mv "$from/lib/nvidia-cuda-toolkit/bin/cicc" "$root/nvvm/bin/"
    mv "$from/lib/nvidia-cuda-toolkit/bin/nvcc" "$from/lib/nvidia-cuda-toolkit/bin/crt" "$root/bin/"
    for name in bin2c cu++filt cudafe++ cuobjdump fatbinary nvdisasm nvlink nvprune ptxas; do
        mv "$from/bin/$name" "$root/bin/"
    done
    mkdir "$root/include"
    find "$from/include" -mindepth 1 -maxdepth 1 ! -name x86_64-linux-gnu -exec mv {} "$root/include/" \;
    find "$libraries" -maxdepth 1 \( -name 'libcudart*' -o -name 'libcudadevrt.a' -o -name 'libculibos.a' -o -name stubs \) \
        -exec mv {} "$root/lib64/" \;
    cat > "$root/bin/nvcc.profile" <<'PROFILE'

TOP              = $(_HERE_)/..

NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice

CICC_PATH           = $(TOP)/nvvm/bin
CICC_NEXT_PATH      = $(TOP)/nvvm-next/bin

LD_LIBRARY_PATH += $(TOP)/lib:
PATH            += $(TOP)/nvvm/bin:$(_HERE_):

INCLUDES        +=  "-I$(TOP)/include" $(_SPACE_)

LIBRARIES        =+ $(_SPACE_) "-L$(TOP)/lib64/stubs" "-L$(TOP)/lib64"

CUDAFE_FLAGS    +=
PTXAS_FLAGS     +=
PROFILE
    ln -s cuda-12.4 "$2/usr/local/cuda"
    # As NVIDIA's headers of CUDA 13 do: glibc 2.41 declares these functions, too.
    mkdir "$2-fitting"
    cp -a "$2/." "$2-fitting/"
    mkdir -p "$2-fitting/usr/local/bin"
    ln -s /usr/bin/g++-13 "$2-fitting/usr/local/bin/g++"
    ln -s /usr/bin/gcc-13 "$2-fitting/usr/local/bin/gcc"
    sed -i -E 's/((cospi|sinpi)f?)\((double|float) x\);/\1(\3 x) noexcept (true);/' \
        "$2-fitting/usr/local/cuda-12.4/include/crt/math_functions.h"
}

# The image $1: CUDA's tree of layout $2 on top of compilers and Python.
devel() {
    ! podman image exists "$1" || return 0
    if ! podman image exists localhost/standin-tools:13; then
        container=$(buildah from --pull-never localhost/standin-slim:13)
        inside "$container" -- sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq \
            --no-install-recommends $TOOLS >/dev/null && rm -rf /var/lib/apt/lists/*"
        buildah commit --quiet --rm "$container" localhost/standin-tools:13
    fi
    container=$(buildah from --pull-never localhost/standin-tools:13)
    # Through tar, which follows the links that the system's directories are.
    inside --volume "$HOME_OF_IMAGES/cuda/$2:/cuda:ro" "$container" -- sh -c \
        'tar -C /cuda -c . | tar -x -C / --no-same-owner --keep-directory-symlink && ldconfig'
    if [ "$2" != debian ]; then
        buildah config --env CUDA_HOME=/usr/local/cuda --env \
            'PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$container"
    fi
    buildah commit --quiet --rm "$container" "$1"
}

bases() {
    slim
    cuda
    devel localhost/standin-devel:12.4 debian
    devel localhost/standin-devel-nv:12.4 nvidia-fitting
    devel localhost/standin-devel-nv:12.4-new nvidia
}

# Copies of what root made, in the storage of the user $1.
give() {
    for image in localhost/standin-slim:13 localhost/standin-devel:12.4; do
        podman save --quiet "$image" | (
            cd /
            runuser -u "$1" -- env -u CONTAINERS_CONF -u CONTAINERS_STORAGE_CONF "$SELF" take "$image"
        )
    done
}

case ${1:-} in
install) install_engines ;;
bases)
    configure
    bases
    ;;
give)
    configure
    give "$2"
    ;;
take)
    configure
    if podman image exists "$2"; then cat >/dev/null; else podman load --quiet; fi
    ;;
clean)
    if [ -d "$HOME_OF_IMAGES" ]; then
        configure
        podman rm --all --force >/dev/null 2>&1 || true
        buildah rm --all >/dev/null 2>&1 || true
        podman rmi --all --force >/dev/null 2>&1 || true
        umount "$HOME_OF_IMAGES/storage/overlay" 2>/dev/null || true
        # An ordinary user's layers belong to other ids of theirs.
        rm -rf "$HOME_OF_IMAGES" 2>/dev/null || podman unshare rm -rf "$HOME_OF_IMAGES"
    fi
    ;;
env)
    configure
    echo "CONTAINERS_CONF=$CONTAINERS_CONF"
    echo "CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF"
    # buildah keeps cache mounts there, and another user's are of no use.
    mkdir -p "$HOME_OF_IMAGES/tmp"
    echo "TMPDIR=$HOME_OF_IMAGES/tmp"
    ;;
*)
    echo "usage: engines.sh install|bases|give USER|clean|env" >&2
    exit 2
    ;;
esac
