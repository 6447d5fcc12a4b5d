#!/bin/sh
# Format, and the sizes that CONTRIBUTING.md sets: median function at most 15 lines, 90 % at most 60, files at most 700.
# SPDX-License-Identifier: Apache-2.0
set -u
status=0
files=$(git ls-files 'core/*.[ch]' 'api/*.[ch]' 'server/*.[ch]' 'tests/*.[ch]')
clang-format --dry-run --Werror $files || status=1

ctags --c-kinds=f --fields=+ne -f - $(git ls-files 'core/*.c' 'api/*.c' 'server/*.c') 2>/dev/null |
    sed -n 's/^\([^\t]*\)\t\([^\t]*\)\t.*line:\([0-9]*\).*end:\([0-9]*\).*/\1 \2 \3 \4/p' |
    awk '{ print $4 - $3 + 1, $2 ":" $3, $1 }' | sort -n >build/function-sizes.txt
total=$(wc -l <build/function-sizes.txt)
median=$(sed -n "$((total / 2 + 1))p" build/function-sizes.txt | cut -d' ' -f1)
ninety=$(sed -n "$((total * 9 / 10))p" build/function-sizes.txt | cut -d' ' -f1)
echo "functions: $total, median $median lines, 90 % at most $ninety; the longest:"
tail -5 build/function-sizes.txt
[ "$median" -le 15 ] && [ "$ninety" -le 60 ] || status=1
for f in $files; do
    lines=$(wc -l <"$f")
    [ "$lines" -le 700 ] || { echo "$f has $lines lines; 700 is the most"; status=1; }
done
exit $status
