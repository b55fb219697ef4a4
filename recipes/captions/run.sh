#!/usr/bin/env bash
# Captions of photographs, English, German, French and Czech: small enough that two CPU cores learn to
# translate them.
#
#   DATA=... recipes/captions/run.sh WORK                       English to German
#   DATA=... DIRECTIONS=eng_Latn-fra_Latn recipes/captions/run.sh WORK
#   DATA=... DIRECTIONS=all recipes/captions/run.sh WORK        all twelve, one model
#   DATA=... DIRECTIONS=all MODEL=experts recipes/captions/run.sh WORK
#
# DATA holds Multi30k: train.<language>.txt.gz, val.<language>.txt and test_2016_flickr.<language>.txt.
# MODEL, with all directions, is dense, experts (Mixture-of-Experts with expert output masking) or experts_unmasked; all three
# have equally many active parameters. Further arguments go to `tongues nmt train`. Every step skips what
# is done: kill this anywhere and run it again.
set -euo pipefail

WORK=${1:?usage: DATA=... recipes/captions/run.sh WORK [OPTION OF nmt train...]}
shift
DATA=${DATA:?DATA is the directory of Multi30k; see docs/guide.md}
DIRECTIONS=${DIRECTIONS:-eng_Latn-deu_Latn}
MODEL=${MODEL:-dense}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LANGUAGES=(eng_Latn deu_Latn fra_Latn ces_Latn)

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"

case $MODEL in
  dense) model=() ;;
  experts) model=(--config-file "$HERE/experts.yaml") ;;
  experts_unmasked)
    model=(--config-file "$HERE/experts.yaml" --config model.expert_output_masking_p=0)
    ;;
  *) echo "MODEL is $MODEL; it must be dense, experts or experts_unmasked" >&2 && exit 2 ;;
esac
if [ "$DIRECTIONS" = all ]; then
  pairs=() recipe=multilingual named=
  for i in "${!LANGUAGES[@]}"; do
    for other in "${LANGUAGES[@]:i+1}"; do
      pairs+=("${LANGUAGES[i]}-$other")
    done
  done
else
  pairs=("$DIRECTIONS") recipe=bilingual named=$DIRECTIONS
fi

# Copy a file atomically, unless it exists.
bring() {
  if ! [ -f "$2" ]; then
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.tmp"
    mv "$2.tmp" "$2"
  fi
}

say "1/5 Line-aligned files, under the names of Moses pairs and of FLORES-200"
for pair in "${pairs[@]}"; do
  for language in "${pair%-*}" "${pair#*-}"; do
    bring "$DATA/train.$language.txt.gz" "$WORK/bitext/train.$pair.$language.gz"
    bring "$DATA/val.$language.txt" "$WORK/flores/dev/$language.dev"
    bring "$DATA/test_2016_flickr.$language.txt" "$WORK/flores/devtest/$language.devtest"
  done
done

say "2/5 Vocabulary, of the size that the text is enough for"
tongues nmt vocabulary --bitext "$WORK/bitext" --output "$WORK/vocabulary"

say "3/5 Training; the best update by validation is kept"
tongues nmt train --config-file "$HERE/$recipe.yaml" "${model[@]}" --output "$WORK/model" \
  --config vocabulary="$WORK/vocabulary" --config bitext.primary="$WORK/bitext" \
  --config flores="$WORK/flores" --config directions="[$named]" "$@"

say "4/5 Translation of the test set"
tongues nmt translate-flores --model "$WORK/model" --flores "$WORK/flores" --split devtest \
  --directions "$named" --output "$WORK/hypotheses"

say "5/5 Scores: 13a, cased"
tongues eval score --hypotheses "$WORK/hypotheses" --flores "$WORK/flores" --split devtest \
  --output "$WORK/scores" --metrics bleu,chrf++ --config baselines='[copy]'
