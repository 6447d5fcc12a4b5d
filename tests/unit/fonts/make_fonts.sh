#!/bin/sh
# Makes the fonts that test_draw_fonts.c searches, a few glyphs each, cut with fonttools (4) from Debian 12's packages:
#     tests/unit/fonts/make_fonts.sh /usr/share/fonts/truetype        (fonts-dejavu-core, fonts-droid-fallback, fonts-noto-color-emoji)
# arabic: DejaVu Sans (Bitstream Vera licence), the letters of one word and their joined forms. cjk: Droid Sans Fallback (Apache 2.0), three characters.
# emoji: Noto Color Emoji (OFL 1.1), one face in colour. The licences lie beside them.
# SPDX-License-Identifier: Apache-2.0
set -eu
here=$(dirname "$0")
mkdir -p "$here/arabic" "$here/far-east"
pyftsubset "$1/dejavu/DejaVuSans.ttf" --text="مرحبا" --no-hinting --layout-features=init,medi,fina,isol,liga,rlig --drop-tables+=FFTM \
    --output-file="$here/arabic/TestArabic-Regular.ttf"
pyftsubset "$1/droid/DroidSansFallbackFull.ttf" --text="日本語" --no-hinting --output-file="$here/far-east/TestCJK.ttf"
pyftsubset "$1/noto/NotoColorEmoji.ttf" --text="😀" --output-file="$here/TestColorEmoji.ttf"
