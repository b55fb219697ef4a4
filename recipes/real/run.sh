#!/usr/bin/env bash
# A new language on real text, on two CPU cores: Czech, of captions of photographs.
#
#   DATA=... recipes/real/run.sh WORK
#
# There are a thousand Czech-English pairs, crawl shards in which nine thousand more lie scattered among
# other text, and a model of English, German and French that has seen none of them. DATA holds multi30k/,
# lid/, nllb_seed/, tatoeba/, wmt_newstest/ and flores200_dataset/; docs/guide.md says what each is. Every
# step skips what is done: kill this anywhere and run it again.
set -euo pipefail

WORK=${1:?usage: DATA=... recipes/real/run.sh WORK}
DATA=$(realpath "${DATA:?DATA is the directory of real text; see docs/guide.md}")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CAPTIONS=$DATA/multi30k
NEW=ces_Latn PIVOT=eng_Latn
OLD="eng_Latn deu_Latn fra_Latn"
# What the new language is to be told apart from, and what lies beside it in the shards.
RELATIVES="deu_Latn fra_Latn slk_Latn pol_Latn slv_Latn hrv_Latn ukr_Cyrl rus_Cyrl"
MORE="eng_Latn spa_Latn ita_Latn por_Latn ron_Latn nld_Latn swe_Latn nob_Latn dan_Latn fin_Latn
  est_Latn lit_Latn lvs_Latn hun_Latn bos_Latn szl_Latn srp_Cyrl mkd_Cyrl bul_Cyrl bel_Cyrl tur_Latn
  ell_Grek"

# shellcheck source=../keep.sh
source "$HERE/../keep.sh"
mkdir -p "$WORK"
cd "$WORK"

# Lines of the captions' training text. 1-19,000: the starting model's. 19,001-20,000: the seed.
# 20,001-29,000: scattered in the shards.
captions() { zcat "$CAPTIONS/train.$1.txt.gz" | sed -n "$2p"; }
# Sixty lines of each test set are planted in the shards: the check for test sentences must find them.
planted() { for set in val test_2016_flickr; do sed -n 1,60p "$CAPTIONS/$set.$1.txt"; done; }
pairs() { cat "$DATA"/{wmt_newstest,tatoeba}/"$PIVOT-$NEW.tsv"; }
# News of other language pairs, without what the news in the new language translates.
news() {
  for language in fin_Latn tur_Latn; do
    cut -f1 "$DATA/wmt_newstest/$PIVOT-$language.tsv" | tail -n 1500
  done | grep -vxFf <(pairs | cut -f1) | awk '!seen[$0]++'
}
# A quarter of the lines for identification lies in the shards; the identifier learns from the others.
identification() { zcat "$DATA/lid/$1.txt.gz" | awk "NR % 4 $2 0"; }

say "1/5 Test sets, seed, and text around the pairs"
mkdir -p flores/dev flores/devtest start_bitext replay seed monolingual text other identification
ln -sfn "$DATA/flores200_dataset" .
for language in $OLD $NEW; do
  keep "flores/dev/$language.dev" cat "$CAPTIONS/val.$language.txt"
  keep "flores/devtest/$language.devtest" cat "$CAPTIONS/test_2016_flickr.$language.txt"
done
for language in deu_Latn fra_Latn; do
  for side in $PIVOT "$language"; do
    keep "start_bitext/train.$PIVOT-$language.$side" captions "$side" 1,19000
    # Replayed pairs are trained on from source to target only.
    for pair in "$PIVOT-$language" "$language-$PIVOT"; do
      keep "replay/train.$pair.$side" captions "$side" 1,19000
    done
  done
done
keep "seed/$PIVOT-$NEW.tsv" paste <(captions $PIVOT 19001,20000) <(captions $NEW 19001,20000)
keep "monolingual/$NEW.txt" captions $NEW 1,9000
for language in $PIVOT $NEW; do
  keep "text/$language.txt" eval "captions $language 20001,29000; planted $language"
done
keep "other/$NEW.txt" eval \
  'for source in wmt_newstest tatoeba; do sed -n 1,4000p "$DATA/$source/$PIVOT-$NEW.tsv"; done | cut -f2'
keep "other/$PIVOT.txt" eval 'cat "$DATA/nllb_seed/$PIVOT.txt"; news'
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
keep "gold/$PIVOT-$NEW.tsv" grep -vxFf <(paste <(planted $PIVOT) <(planted $NEW)) \
  "scattered/gold/$PIVOT-$NEW.tsv"

say "3/5 The starting identifier, without $NEW"
tongues lid train --data identification --output identifier --config sampled_lines=150000 \
  --config quantize=false

say "4/5 The starting model: English to and from German and French"
tongues nmt vocabulary --bitext start_bitext --output vocabulary
tongues nmt train --config-file "$HERE/start.yaml" --output start \
  --config vocabulary=vocabulary --config bitext.primary=start_bitext --config flores=flores

say "5/5 $NEW"
tongues new-language "$HERE/czech.yaml" --output czech
