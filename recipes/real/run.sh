#!/usr/bin/env bash
# The same commands on real text: from scattered crawl shards to FLORES scores, on two CPU cores.
#
#   DATA=... recipes/real/run.sh WORK
#
# DATA holds lid/, ntrex128/, nllb_seed/, tatoeba/, wmt_newstest/, flores200_dataset/ and crawl/;
# docs/guide.md says what each is. Every step skips what is done: kill this anywhere and run it again.
set -euo pipefail

WORK=${1:?usage: DATA=... recipes/real/run.sh WORK}
DATA=${DATA:?DATA is the directory of real text; see docs/guide.md}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PIVOT=eng_Latn
OTHERS="deu_Latn fra_Latn tur_Latn rus_Cyrl ell_Grek heb_Hebr hin_Deva zho_Hans"
LANGUAGES="[$PIVOT, ${OTHERS// /, }]"

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"
mkdir -p "$WORK"

# Copy a file atomically, unless it exists.
bring() {
  if ! [ -f "$2" ]; then
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.tmp"
    mv "$2.tmp" "$2"
  fi
}

say "1/9 Language identification: 196 languages, measured on FLORES-200"
tongues lid train --data "$DATA/lid" --output "$WORK/lid" --config-file "$HERE/lid.yaml"
keep "$WORK/lid_measure.json" \
  tongues lid measure --model "$WORK/lid" --flores "$DATA/flores200_dataset" --split devtest --json

say "2/9 Crawl shards: NTREX-128 scattered among other text"
# The surrounding English text is from another source than the others'; otherwise they would contain
# unknown translations of each other, and correct finds would count as errors.
bring "$DATA/nllb_seed/$PIVOT.txt" "$WORK/other/$PIVOT.txt"
for language in $OTHERS; do
  bring "$DATA/lid/$language.txt.gz" "$WORK/other/$language.txt.gz"
done
tongues data scatter --text "$DATA/ntrex128" --other "$WORK/other" --output "$WORK/scattered" \
  --config languages="$LANGUAGES"
tongues mining sentences "$WORK"/scattered/crawl/*.warc.wet.gz --lid "$WORK/lid" \
  --output "$WORK/sentences"
# A real Common Crawl file. Its page is Aragonese, which is not among the 196 languages.
tongues mining sentences "$DATA/crawl/whirlwind.warc.wet.gz" --lid "$WORK/lid" \
  --output "$WORK/whirlwind"

say "3/9 Seed bitext: Tatoeba and WMT news"
for language in $OTHERS; do
  for source in tatoeba wmt_newstest; do
    file=$PIVOT-$language.tsv
    if [ -f "$DATA/$source/$file" ]; then
      bring "$DATA/$source/$file" "$WORK/seed/$source/$file"
    fi
  done
done

say "4/9 Sentence encoder: train, xsim on FLORES-200, embed"
tongues mining train-encoder --bitext "$WORK/seed/tatoeba" --bitext "$WORK/seed/wmt_newstest" \
  --output "$WORK/encoder" --config-file "$HERE/encoder.yaml"
keep "$WORK/xsim.json" \
  tongues mining xsim --encoder "$WORK/encoder" --flores "$DATA/flores200_dataset" \
  --split devtest --json --config languages="$LANGUAGES"
tongues mining embed --sentences "$WORK/sentences" --encoder "$WORK/encoder" \
  --output "$WORK/embeddings"

say "5/9 Mining and filtering; FLORES-200 is kept out of the training data"
for language in $OTHERS; do
  pair=$PIVOT-$language
  tongues mining mine --sentences "$WORK/sentences" --embeddings "$WORK/embeddings" \
    --source "$PIVOT" --target "$language" --output "$WORK/mined/$pair.parquet" \
    --config-file "$HERE/mine.yaml"
  tongues mining filter --bitext "$WORK/mined/$pair.parquet" \
    --output "$WORK/bitext/$pair.parquet" --evaluation-sets "$DATA/flores200_dataset"
  for source in tatoeba wmt_newstest; do
    if [ -f "$WORK/seed/$source/$pair.tsv" ]; then
      tongues mining filter --bitext "$WORK/seed/$source/$pair.tsv" \
        --output "$WORK/primary/$source/$pair.parquet" \
        --evaluation-sets "$DATA/flores200_dataset"
    fi
  done
done
keep "$WORK/mining.json" \
  tongues mining evaluate --bitext "$WORK/bitext" --gold "$WORK/scattered/gold" \
  --sentences "$WORK/sentences" --json
tongues mining report --bitext "$WORK/bitext" --mined "$WORK/mined" \
  --sentences "$WORK/sentences" --embeddings "$WORK/embeddings" --output "$WORK/mining.html"

say "6/9 Vocabulary"
tongues nmt vocabulary --bitext "$WORK/primary/tatoeba" --bitext "$WORK/primary/wmt_newstest" \
  --bitext "$WORK/bitext" --output "$WORK/vocabulary" --config-file "$HERE/vocabulary.yaml"

say "7/9 Training: Mixture-of-Experts on CPU, seed bitext plus what was mined"
tongues nmt train --config-file "$HERE/train.yaml" --output "$WORK/model" \
  --config vocabulary="$WORK/vocabulary" \
  --config bitext.primary="[$WORK/primary/tatoeba, $WORK/primary/wmt_newstest]" \
  --config bitext.mined="$WORK/bitext"

say "8/9 Translation of FLORES-200 devtest"
tongues nmt translate-flores --model "$WORK/model" --flores "$DATA/flores200_dataset" \
  --split devtest --output "$WORK/hypotheses"
keep "$WORK/experts.json" \
  tongues nmt experts --model "$WORK/model" --flores "$DATA/flores200_dataset" --split dev --json

say "9/9 Scores and report"
tongues eval score --hypotheses "$WORK/hypotheses" --flores "$DATA/flores200_dataset" \
  --split devtest --output "$WORK/scores" --metrics spbleu,chrf++ \
  --config spm="$WORK/vocabulary/sentencepiece.model" --config baselines='[copy]'
# The report shows sample translations beside their sources and references.
mkdir -p "$WORK/data"
ln -sfn "$(realpath "$DATA/flores200_dataset")" "$WORK/data/flores"
tongues eval report --run "$WORK" --output "$WORK/report.html"
