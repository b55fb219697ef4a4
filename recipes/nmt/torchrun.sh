#!/usr/bin/env bash
# Train on all GPUs of one machine or of several, with one process per GPU.
#
#   recipes/nmt/torchrun.sh --config-file recipes/nmt/dense_1b.yaml --output DIR ...
#   NODES=2 NODE=0 HEAD=gpu1:29500 recipes/nmt/torchrun.sh ...     (and with NODE=1 on the other)
#
# PROCESSES sets the number of processes, by default the number of GPUs. At SIGTERM torchrun gives its
# processes half a minute to save a checkpoint and then exits with 1 and a traceback of its own; run
# the same command again to resume.
set -euo pipefail

: "${1:?usage: PROCESSES=8 recipes/nmt/torchrun.sh --config-file FILE --output DIR ...}"
NODES=${NODES:-1}
PROCESSES=${PROCESSES:-gpu}
export OMP_NUM_THREADS=1

if [ "$NODES" -eq 1 ]; then
  where=(--standalone)
else
  where=(--node-rank="${NODE:?}" --master-addr="${HEAD%:*}" --master-port="${HEAD##*:}")
fi
exec torchrun "${where[@]}" --nnodes="$NODES" --nproc-per-node="$PROCESSES" \
  --no-python tongues nmt train "$@"
