#!/usr/bin/env bash
# Submit a command over shards to Slurm, in RANKS parts, with a last job that joins them.
#
#   RANKS=16 recipes/mining/submit.sh mining sentences data/crawl/*.gz --lid lid --output sentences
#
# Arrays run the same command one after the other. Ranks never wait for each other: the first array
# ends where a later stage needs all shards of an earlier one, and the second continues there
# (sentences: extracting, gathering, merging buckets; other commands have nothing left to do).
# `mining run` has more: embedding, known pairs, mining, filtering; give it STAGES=7. The last job runs on one node without ranks, finishes what a rank may have left, and fails if shards failed.
# Prints the number of the last job.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RANKS=${RANKS:-16}
STAGES=${STAGES:-3}
: "${1:?usage: RANKS=16 recipes/mining/submit.sh mining COMMAND ...}"

array=(--parsable --array="0-$((RANKS - 1))")
last=$(sbatch "${array[@]}" "$HERE/rank.sbatch" "$@")
for ((stage = 1; stage < STAGES; stage++)); do
  last=$(sbatch "${array[@]}" --dependency="afterany:$last" "$HERE/rank.sbatch" "$@")
done
sbatch --parsable --dependency="afterany:$last" --job-name=tongues-finish --cpus-per-task=2 \
  --mem=8G --signal=B:TERM@60 --wrap "exec tongues $(printf '%q ' "$@")"
