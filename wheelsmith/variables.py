"""The environment variables that a user may set, each with what it does; the reference is made from this table.

In: nothing. Out: values. Nothing can fail. Every variable named WHEELSMITH_… that the code reads stands here
or, if wheelsmith only tells its own processes something with it, in `INTERNAL`; a test compares both with the code.
"""

from __future__ import annotations

VARIABLES: dict[str, str] = {
    "WHEELSMITH_STORE": "directory of the store: sources, environments, toolkits, logs, finished wheels; default: the"
    " user's cache directory (`--store`)",
    "WHEELSMITH_CONFIG": "the configuration file; default: `config.toml` in the user's configuration directory",
    "WHEELSMITH_RECIPES": "directories of your own recipes, separated as in `PATH`; they come before the shipped ones"
    " (`--recipes`)",
    "WHEELSMITH_SIGNATURES": "directories of your own signatures for `explain`, separated as in `PATH`",
    "WHEELSMITH_FACTS": "a directory with your own tables of GPUs, drivers and toolkits; default: `facts` beside the"
    " configuration file",
    "WHEELSMITH_CHOICES": "your own table of libraries that a package chooses among when it runs; default:"
    " `choices.toml` beside the configuration file",
    "WHEELSMITH_CACHE": "the compile cache: a directory, `s3://…`, `gs://…`, `az://…` or `redis://…` (`--cache`)",
    "WHEELSMITH_CACHE_KEY": "the key that seals the entries of a shared cache",
    "WHEELSMITH_CACHE_KEY_FILE": "a file with that key, which only you can read",
    "WHEELSMITH_PREFLIGHT": "in an image: `on` (default) refuses to start what will not run, `warn` starts it all the"
    " same, `off` asks nothing",
    "WHEELSMITH_INDEX_URL": "package index for sdists and build requirements (`--index-url`)",
    "WHEELSMITH_FETCH_LIMIT_GB": "how much one fetch from a git server may bring, in GB",
    "WHEELSMITH_TORCH_INDEX": "package index that has the builds for `--torch nightly` (`--torch-index`)",
}

#: Of other programs, honoured as they define them.
OTHERS: dict[str, str] = {
    "CUDA_HOME, CUDA_PATH": "where a CUDA toolkit is looked for first",
    "CUDAHOSTCXX, NVCC_CCBIN": "the host compiler that nvcc is to use (`--host-compiler`)",
    "SSL_CERT_FILE, SSL_CERT_DIR": "certificate authorities to trust instead of the system's",
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "proxies, for everything that connects",
    "UV_DEFAULT_INDEX, UV_INDEX_URL, PIP_INDEX_URL": "the package index of sdists and build requirements, as in uv's"
    " and pip's configuration files",
    "UV_PYTHON_INSTALL_MIRROR": "a mirror of the Pythons that uv fetches",
    "DOCKER_HOST, DOCKER_CONTEXT, CONTAINER_HOST": "the container engine's own",
    "AWS_*, AZURE_*, GOOGLE_*": "credentials for buckets",
    "NO_COLOR": "no colours in the terminal",
}

INTERNAL = frozenset(
    {
        "WHEELSMITH_CELL",
        "WHEELSMITH_CONTAINER_IMAGE",
        "WHEELSMITH_DEVICE_CACHE",
        "WHEELSMITH_DEVICE_LOG",
        "WHEELSMITH_NVCC_MODE",
        "WHEELSMITH_TEST_NO_NAMESPACES",
        "WHEELSMITH_UNIT",
        "WHEELSMITH_WIDTH",
    }
)
