#!/usr/bin/env bash
# A hundred sentences in ten languages, hidden among a hundred others of each, found by mining.
#
#   recipes/demo/real_languages.sh WORK
#
# The sentences were written for this recipe. The identifier is trained on the other ones only.
set -euo pipefail

WORK=${1:?usage: recipes/demo/real_languages.sh WORK}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

tongues data scatter --text "$HERE/text" --other "$HERE/other" --output "$WORK/hidden" \
  --config languages="[eng_Latn, arb_Arab, deu_Latn, fra_Latn, jpn_Jpan, kor_Hang, rus_Cyrl, spa_Latn, tur_Latn, zho_Hans]"
tongues lid train --data "$HERE/other" --output "$WORK/lid" --config quantize=false
tongues mining run "$HERE/real_languages.yaml" --output "$WORK/mining" \
  --config shards="[$WORK/hidden/crawl/*.warc.wet.gz]" --config lid="$WORK/lid"
tongues mining evaluate --bitext "$WORK/mining/bitext" --gold "$WORK/hidden/gold" \
  --sentences "$WORK/mining/sentences"
