#!/usr/bin/env bash
# The demo's pipeline at the smallest scale that still runs every stage; the system tests' recipe.
#
#   recipes/tiny/run.sh WORK
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SCALE=tiny TRAIN=$HERE/train.yaml ENCODER=$HERE/encoder.yaml MINE=$HERE/mine.yaml
exec "$HERE/../demo/run.sh" "$@"
