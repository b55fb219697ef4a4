#!/usr/bin/env bash
# A new language on real text, on two CPU cores.
#
#   DATA=... recipes/real/run.sh WORK [czech|ukrainian]
#
# There are a thousand pairs of the language with English, crawl shards in which some nine thousand more lie
# scattered among other text, and a model of English and two other languages that has seen none of them.
# czech.sh (captions of photographs) and ukrainian.sh (Tatoeba) say which lines are which; DATA is the directory
# of real text that docs/guide.md describes. Every step skips what is done: kill this anywhere and run it again.
set -euo pipefail

WORK=${1:?usage: DATA=... recipes/real/run.sh WORK [czech|ukrainian]}
NAME=${2:-czech}
DATA=$(realpath "${DATA:?DATA is the directory of real text; see docs/guide.md}")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PIVOT=eng_Latn

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"
[ -f "$HERE/$NAME.sh" ] || { echo "there is no $HERE/$NAME.sh: czech or ukrainian" >&2; exit 2; }
# It sets NEW; OLD, what the starting model knows beside English; RELATIVES, of which there is text in the shards;
# MORE, which the identifier is to know, too; RECIPES; and START, config of the starting model. `prepare` makes the
# test sets and what only its recipe names; `start SIDE LANGUAGE`, `seed`, `hidden SIDE` and `around SIDE` print lines.
# shellcheck source=czech.sh
source "$HERE/$NAME.sh"
mkdir -p "$WORK"
cd "$WORK"

# Sixty lines of each test set are planted in the shards: the check for test sentences must find them.
planted() { for split in dev devtest; do sed -n 1,60p "flores/$split/$1.$split"; done; }
# A quarter of the lines for identification lies in the shards; the identifier learns from the others.
identification() { zcat "$DATA/lid/$1.txt.gz" | awk "NR % 4 $2 0"; }

say "1/5 Test sets, seed, and text around the pairs"
mkdir -p flores/dev flores/devtest start_bitext replay seed text other identification
ln -sfn "$DATA/flores200_dataset" .
prepare
for language in $OLD; do
  for side in $PIVOT "$language"; do
    keep "start_bitext/train.$PIVOT-$language.$side" start "$side" "$language"
    # Replayed pairs are trained on from source to target only.
    for pair in "$PIVOT-$language" "$language-$PIVOT"; do
      keep "replay/train.$pair.$side" start "$side" "$language"
    done
  done
done
keep "seed/$PIVOT-$NEW.tsv" seed
for language in $PIVOT $NEW; do
  keep "text/$language.txt" eval "hidden $language; planted $language"
  keep "other/$language.txt" around "$language"
done
for language in $RELATIVES; do
  keep "other/$language.txt" eval "identification $language == | sed -n 1,800p"
done
for language in $RELATIVES $MORE; do
  keep "identification/$language.txt" identification "$language" !=
done

say "2/5 Crawl shards: pairs scattered among other text"
tongues data scatter --text text --other other --output scattered \
  --config languages="[$PIVOT, $NEW]" --config other_languages="[${RELATIVES// /, }]" \
  --config other_lines=8000
mkdir -p gold
keep "gold/$PIVOT-$NEW.tsv" grep -vxFf <(paste <(planted $PIVOT) <(planted "$NEW")) \
  "scattered/gold/$PIVOT-$NEW.tsv"

say "3/5 The starting identifier, without $NEW"
tongues lid train --data identification --output identifier --config sampled_lines=150000 \
  --config quantize=false

say "4/5 The starting model: English to and from ${OLD// / and }"
tongues nmt vocabulary --bitext start_bitext --output vocabulary
tongues nmt train --config-file "$HERE/start.yaml" --output start \
  --config vocabulary=vocabulary --config bitext.primary=start_bitext "${START[@]}"

say "5/5 $NEW"
tongues new-language "${RECIPES[@]/#/$HERE/}" --output "$NAME"
