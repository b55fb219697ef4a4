#!/usr/bin/env bash
# Submit a command over shards to Slurm, in RANKS parts, and what joins them.
#
#   RANKS=16 recipes/mining/submit.sh mining sentences data/crawl/*.gz --lid lid --output sentences
#
# Three jobs, each after the one before, and each the same command. Ranks never wait for each other:
# the first array ends where a later stage would need all shards of an earlier one, so the second
# goes on there (sentences: merging the languages; other commands have nothing left and say so). The
# last runs on one node without ranks, does what a rank may have left, and fails if shards failed.
# Prints the number of the last job.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RANKS=${RANKS:-16}
: "${1:?usage: RANKS=16 recipes/mining/submit.sh mining COMMAND ...}"

array=(--parsable --array="0-$((RANKS - 1))")
first=$(sbatch "${array[@]}" "$HERE/rank.sbatch" "$@")
again=$(sbatch "${array[@]}" --dependency="afterany:$first" "$HERE/rank.sbatch" "$@")
sbatch --parsable --dependency="afterany:$again" --job-name=tongues-finish --cpus-per-task=2 \
  --mem=8G --signal=B:TERM@60 --wrap "exec tongues $(printf '%q ' "$@")"
