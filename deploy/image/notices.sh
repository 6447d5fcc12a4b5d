#!/bin/sh
# Prints the licences of attnd, of what it has inside, and of the Debian packages named, with the texts that those only refer to.
#   deploy/image/notices.sh PACKAGE ...
# SPDX-License-Identifier: Apache-2.0
set -eu
source=$(dirname "$0")/../..

section() { # TITLE FILE
    printf '%s\n%s\n\n' '================================================================================' "$1"
    cat "$2"
    echo
}

cat <<'END'
attnd, the libraries beside it and the certificates: who made them, and on what terms.

Libraries are shared objects, taken unchanged from Debian's packages of the versions that sbom.spdx.json names; Debian's archive has the source of each under that version.
Those under the GNU LGPL may be replaced: put another file of the same name in the place of theirs, in an image made FROM this one or mounted over it.
BLIS (BSD-3-Clause) is linked into the program.

END
section "attnd" "$source/LICENSE"
section "the font of labels, inside attnd" "$source/core/draw/labels.LICENSE.txt"
# Packages of one source have one text, which is printed once.
for package in "$@"; do
    echo "$(sha256sum <"/usr/share/doc/$package/copyright" | cut -d' ' -f1) $package"
done | awk '{ packages[$1] = packages[$1] " " $2; if (!seen[$1]++) order[++n] = $1 } END { for (i = 1; i <= n; i++) print packages[order[i]] }' |
    while read -r first others; do
        section "$first${others:+ $others}" "/usr/share/doc/$first/copyright"
    done
for name in Apache-2.0 GPL-2 GPL-3 LGPL-2 LGPL-2.1 LGPL-3 MPL-1.1 MPL-2.0; do
    section "the text of $name" "/usr/share/common-licenses/$name"
done
