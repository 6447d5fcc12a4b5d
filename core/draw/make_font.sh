#!/bin/sh
# Makes core/draw/labels.ttf: DejaVu Sans cut down to what labels and titles mostly need, so that pictures have legible text on a machine without any font.
#     core/draw/make_font.sh /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf        (DejaVu 2.37, fonttools 4)
# Latin with its usual accents, Greek, Cyrillic, punctuation, arrows, and the marks that tokenizers use: the G of byte-level BPE, the block of SentencePiece.
# SPDX-License-Identifier: Apache-2.0
set -eu
latin=U+0020-007E,U+00A0-017F,U+0192,U+0218-021B,U+0259,U+02C6-02DD,U+0300-036F,U+1E80-1E85,U+1EF2-1EF3
others=U+0370-03FF,U+0400-045F,U+0490-0491
marks=U+2010-2015,U+2018-2022,U+2026,U+2030,U+2032-2033,U+2039-203A,U+2044,U+20AC,U+2116,U+2122,U+2190-2199,U+21B5
signs=U+2200,U+2202,U+2208,U+2211-2212,U+221A,U+221E,U+2248,U+2260-2261,U+2264-2265,U+22EE,U+2423,U+2581,U+25A0,U+25A1,U+25CF,U+FFFD
pyftsubset "$1" --unicodes="$latin,$others,$marks,$signs" --no-hinting --layout-features=kern,mark,mkmk,ccmp,locl --name-IDs=0,1,2,5,13 \
    --drop-tables+=FFTM --output-file="$(dirname "$0")/labels.ttf"
