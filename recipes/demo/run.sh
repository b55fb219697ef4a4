#!/usr/bin/env bash
# Mining of ten real languages, then from crawl shards to a FLORES score on the built-in constructed
# languages.
#
#   recipes/demo/run.sh WORK
#
# Every step is a `tongues` command that skips what is done: kill this anywhere and run it again.
set -euo pipefail

WORK=${1:?usage: recipes/demo/run.sh WORK}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SCALE=${SCALE:-demo}
TRAIN=${TRAIN:-$HERE/train.yaml}
ENCODER=${ENCODER:-$HERE/encoder.yaml}
MINE=${MINE:-$HERE/mine.yaml}
PIVOT=qaa_Latn

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"
mkdir -p "$WORK"

if [ "$SCALE" = demo ]; then
  say "Mining real languages: a hundred sentences in ten of them, hidden in crawl shards"
  "$HERE/real_languages.sh" "$WORK/real_languages"
fi

say "1/10 Constructed languages: text, crawl shards, FLORES-layout test sets"
tongues data constructed --output "$WORK/data" --config scale="$SCALE"
OTHERS=$(cut -f1 "$WORK/data/languages.tsv" | tail -n +2 | grep -v "^$PIVOT$")

say "2/10 Language identification: train and measure"
# Nothing here reads the quantized model, which takes longer than the rest of the training.
tongues lid train --data "$WORK/data/lid" --output "$WORK/lid" --config quantize=false
keep "$WORK/lid_measure.json" \
  tongues lid measure --model "$WORK/lid" --flores "$WORK/data/flores" --split devtest --json

say "3/10 Crawl shards to sentences"
tongues mining sentences "$WORK"/data/crawl/*.warc.wet.gz --lid "$WORK/lid" \
  --output "$WORK/sentences"

say "4/10 Sentence encoder: train on seed bitext, evaluate by xsim, embed"
tongues mining train-encoder --bitext "$WORK/data/seed" --output "$WORK/encoder" \
  --config-file "$ENCODER"
keep "$WORK/xsim.json" \
  tongues mining xsim --encoder "$WORK/encoder" --flores "$WORK/data/flores" --split devtest --json
tongues mining embed --sentences "$WORK/sentences" --encoder "$WORK/encoder" \
  --output "$WORK/embeddings"

say "5/10 Mining and filtering: FAISS neighbors, ratio margin"
for language in $OTHERS; do
  pair=$PIVOT-$language
  tongues mining mine --sentences "$WORK/sentences" --embeddings "$WORK/embeddings" \
    --source "$PIVOT" --target "$language" --output "$WORK/mined/$pair.parquet" \
    --config-file "$MINE"
  tongues mining filter --bitext "$WORK/mined/$pair.parquet" \
    --output "$WORK/bitext/$pair.parquet" --evaluation-sets "$WORK/data/flores"
done
keep "$WORK/mining.json" \
  tongues mining evaluate --bitext "$WORK/bitext" --gold "$WORK/data/gold" \
  --sentences "$WORK/sentences" --json
tongues mining report --bitext "$WORK/bitext" --mined "$WORK/mined" \
  --sentences "$WORK/sentences" --embeddings "$WORK/embeddings" --output "$WORK/mining.html"

say "6/10 Vocabulary"
tongues nmt vocabulary --bitext "$WORK/data/seed" --bitext "$WORK/bitext" \
  --output "$WORK/vocabulary" --config-file "$HERE/vocabulary.yaml"

say "7/10 Training: Mixture-of-Experts, expert output masking, curriculum"
tongues nmt train --config-file "$TRAIN" --output "$WORK/model" \
  --config vocabulary="$WORK/vocabulary" \
  --config bitext.primary="$WORK/data/seed" --config bitext.mined="$WORK/bitext" \
  --config flores="$WORK/data/flores"

say "8/10 Translation of the test split, and what the experts do"
tongues nmt translate-flores --model "$WORK/model" --flores "$WORK/data/flores" \
  --split devtest --output "$WORK/hypotheses"
keep "$WORK/experts.json" \
  tongues nmt experts --model "$WORK/model" --flores "$WORK/data/flores" --split dev --json

say "9/10 Scores"
tongues eval score --hypotheses "$WORK/hypotheses" --flores "$WORK/data/flores" \
  --split devtest --output "$WORK/scores" --metrics spbleu,chrf++ \
  --config spm="$WORK/vocabulary/sentencepiece.model" \
  --config languages="$WORK/data/languages.tsv" --config baselines='[copy]'

say "10/10 Report"
tongues eval report --run "$WORK" --output "$WORK/report.html"
