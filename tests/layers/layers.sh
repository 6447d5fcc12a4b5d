#!/bin/sh
# The house keeps its shape: server -> api -> core and never back, one prefix a layer, libraries where they belong. Needs build/release.
# SPDX-License-Identifier: Apache-2.0
set -u
passed=0
failed=0

claim() { # claim TEXT LINES, the lines that contradict it
    if [ -z "$2" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not so: %s\n%s\n' "$1" "$2"
    fi
}
code() { grep -rnE "$1" $2 --include=*.c --include=*.h | grep -vE '^[^:]*:[0-9]+: *(/\*|\*)'; } # comments left out
includes() { grep -rnE "^ *# *include *[<\"]($1)" $2 2>/dev/null; }
globals() { nm -g --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -vE "^($2)|^__(asan|odr|sanitizer)"; }
undefined() { nm -u "$1" 2>/dev/null | awk '{ print $2 }' | grep -E "^($2)"; }

release=build/release
claim "core knows nothing of api" "$(includes 'api\.h|problem\.h|request\.h|json_reader\.h|out\.h|plan\.h' core)"
claim "core and api know no sockets" "$(includes 'microhttpd\.h|sys/socket\.h|netinet|curl/' "core api")"
claim "microhttpd.h is included in server/http*.c alone" "$(includes 'microhttpd\.h' server | grep -v '^server/http')"
claim "blis.h is included in core/math/gemm.c alone" "$(includes '([a-z-]*/)?blis\.h' "core api server" | grep -v '^core/math/gemm\.c')"
claim "png.h, FreeType and HarfBuzz are included in core/draw alone" "$(includes 'png\.h|ft2build\.h|hb' "core api server" | grep -v '^core/draw/')"
claim "zlib.h and zstd.h are included in server/compress.c alone" "$(includes 'zlib\.h|zstd\.h' "core api server" | grep -v '^server/compress\.c')"
claim "curl.h is included in server/hub_transfer.c and server/probe.c alone" "$(includes 'curl/' server | grep -vE '^server/(hub_transfer|probe)\.c')"
claim "pcre2.h is included in core/text/pattern.c alone" "$(includes 'pcre2\.h' "core api server" | grep -v '^core/text/pattern\.c')"
claim "GnuTLS is included in server/keys.c, tls, wire and the hub alone" "$(includes 'gnutls/' "core api server" | grep -vE '^server/(keys\.c|tls\.[ch]|wire\.h|hub_[a-z]*\.c)')"
claim "seccomp.h is included in server/confine.c alone" "$(includes 'seccomp\.h' "core api server" | grep -v '^server/confine\.c')"
claim "server does no mathematics" "$(includes 'math\.h' server)"
claim "no include climbs out of its folder" "$(includes '[^">]*\.\./' "core api server")"
claim "core and api never print, exit or assert" "$(code '\b(printf|fprintf|puts|perror|exit|abort|assert)\(' "core api")"
claim "core/base/memory.c is the only caller of the allocator in core and api" "$(code '\b(malloc|calloc|realloc|free)\(' "core api" | grep -vE '^core/base/memory\.c')"
claim "no function that cannot be used safely" "$(code '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atof|alloca)\(' "core api server")"
claim "core's symbols begin with attn_" "$(globals $release/libattn_core.a 'attn_')"
claim "api's symbols begin with api_" "$(globals $release/libattn_api.a 'api_')"
claim "server's symbols begin with srv_" "$(globals $release/libattn_server.a 'srv_')"
claim "core calls nobody above it" "$(undefined $release/libattn_core.a 'MHD_|api_|srv_|curl_')"
claim "api calls core and nobody above or beside it" "$(undefined $release/libattn_api.a 'MHD_|srv_|bli_|curl_')"
claim "server calls neither BLIS nor jansson" "$(undefined $release/libattn_server.a 'bli_|json_')"
claim "file names are unique" "$(find core api server -name '*.[ch]' -exec basename {} \; | sort | uniq -d)"
claim "every source names its licence" "$(grep -rL 'SPDX-License-Identifier: Apache-2.0' core api server tests deploy --include=*.c --include=*.h --include=*.S --include=*.py --include=*.sh --include=*.js --include=*.css --exclude-dir=node_modules)"
missing=
for archive in core api server; do
    [ -s $release/libattn_$archive.a ] || missing="$missing $archive"
done
claim "the libraries looked at are there" "$missing"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
