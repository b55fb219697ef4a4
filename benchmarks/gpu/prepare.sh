#!/usr/bin/env bash
# Gather what benchmarks/gpu/run.py needs on a machine without a network, beside torch and numpy.
#
#   benchmarks/gpu/prepare.sh                   # into benchmarks/gpu/wheels, for Python 3.12 on x86-64
#   PYTHON_VERSION=3.11 benchmarks/gpu/prepare.sh
#
# Versions are those of constraints.txt. Data is made on the spot by run.py; nothing else travels.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHON_VERSION=${PYTHON_VERSION:-3.12}
MOST_MIB=60
PACKAGES=(fairseq2 torcheval ruamel.yaml importlib-metadata importlib-resources zipp mypy-extensions
  sentencepiece safetensors pyyaml regex tqdm rich markdown-it-py mdurl pygments click packaging
  psutil typing-extensions zstandard python-iso639 faiss-cpu)

rm -rf wheels
python3 -m pip download --quiet --no-deps --only-binary=:all: --dest wheels \
  --python-version "$PYTHON_VERSION" --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
  --constraint ../../constraints.txt "${PACKAGES[@]}"
size=$(du -sm wheels | cut -f1)
[ "$size" -le "$MOST_MIB" ] || { echo "wheels are $size MiB; at most $MOST_MIB travel" >&2; exit 1; }
echo "benchmarks/gpu/wheels: $(ls wheels | wc -l) wheels, $size MiB"
