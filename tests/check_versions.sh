#!/usr/bin/env bash
# Run the tests that meet torch, transformers and fastText in environments of the oldest and newest
# versions; `make check-versions` calls it.
#
#   UV=uv PYTHONS="3.11 3.13" tests/check_versions.sh
#
# Each environment is removed when its tests have passed. A Python is looked for as uv does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV=${UV:-uv}
EXTRAS=lid,cld2,mining,nmt,export,serve,eval,dev
TESTS=${TESTS:-"tests/lid tests/mining/encoders tests/nmt tests/test_front_door.py"}
# Python, torch, transformers: the oldest of each, the newest of each, and the two crossed.
MATRIX=${MATRIX:-"3.11:torch==2.9.*:transformers==4.57.* 3.13:torch>=2.15:transformers>=5
3.11:torch>=2.15:transformers==4.57.* 3.13:torch==2.9.*:transformers>=5"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Versions that were tested together, without those that belong to one torch or one transformers.
grep -vE '^(torch|triton|nvidia-.*|transformers|tokenizers|huggingface-hub|hf-xet|setuptools)==' \
  constraints.txt >"$work/constraints.txt"
for row in $MATRIX; do
  IFS=: read -r python torch transformers <<<"$row"
  echo "== Python $python, $torch, $transformers" >&2
  "$UV" venv -q --python "$python" "$work/environment"
  "$UV" pip install -q --python "$work/environment/bin/python" --constraint "$work/constraints.txt" \
    ".[$EXTRAS]" "$torch" "$transformers"
  "$UV" pip list -q --python "$work/environment/bin/python" \
    | grep -E '^(torch|transformers|numpy|fasttext-modern|fairseq2) ' >&2
  # shellcheck disable=SC2086 # several paths
  PYTHONPATH="$PWD" "$work/environment/bin/python" -P -m pytest -q $TESTS
  rm -rf "$work/environment"
done
