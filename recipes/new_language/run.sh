#!/usr/bin/env bash
# A language in a box on the built-in constructed languages: a model of four of them learns a fifth.
#
#   recipes/new_language/run.sh WORK
#
# What comes first makes what somebody with a new language has already: crawl shards, seed pairs, test
# sets, an encoder, an identifier and a model that do not know it. Every step skips what is done.
set -euo pipefail

WORK=${1:?usage: recipes/new_language/run.sh WORK [OPTION OF new-language...]}
shift
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NEW=qac_Cyrl
KNOWN="qab_Latn qad_Arab qah_Arab"

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"
mkdir -p "$WORK"
cd "$WORK"

say "What there is: text, crawl shards, seed pairs and test sets"
tongues data constructed --output data --config scale=tiny
mkdir -p known/text known/seed
for file in data/lid/*.txt; do
  [ "$(basename "$file" .txt)" = "$NEW" ] || keep "known/text/$(basename "$file")" cat "$file"
done
for language in $KNOWN; do
  keep "known/seed/qaa_Latn-$language.tsv" cat "data/seed/qaa_Latn-$language.tsv"
done

say "What does not know the new language: an identifier, an encoder, a model"
tongues lid train --data known/text --output known/identifier --config quantize=false
tongues mining train-encoder --bitext known/seed --output known/encoder
tongues nmt vocabulary --bitext known/seed --output known/vocabulary --config size=500
tongues nmt train --config-file "$HERE/start.yaml" --output known/model \
  --config vocabulary=known/vocabulary --config bitext.primary=known/seed --config flores=data/flores

say "The new language"
tongues new-language "$HERE/constructed.yaml" --output box "$@"
