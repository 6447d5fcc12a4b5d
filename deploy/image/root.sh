#!/bin/sh
# Lays out the file system of the image: the program, the shared objects it names, the certificates of authorities, and what must be said about them.
#   deploy/image/root.sh PROGRAM DIRECTORY      on the Debian that built PROGRAM; wants SOURCE_DATE_EPOCH, the time given to every file
# BLIS alone is inside the program (Makefile). The other libraries stay files of their own: for some there is no archive to link (HarfBuzz, p11-kit,
# libunistring, Kerberos), and one under the LGPL may be replaced without us.
# SPDX-License-Identifier: Apache-2.0
set -eu
program=$1
root=$2
here=$(dirname "$0")
umask 022
mkdir -p "$root/usr/bin" "$root/etc" "$root/usr/share/doc/attnd"

strip -o "$root/usr/bin/attnd" "$program"
objects=$(ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | LC_ALL=C sort -u)
for file in $objects /etc/ssl/certs/ca-certificates.crt; do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
done

echo 'attnd:x:65532:65532::/cache:' >"$root/etc/passwd"
echo 'attnd:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# /lib is a link to /usr/lib, and dpkg may know a file by either name.
package_of() {
    { dpkg-query -S "$1" || dpkg-query -S "/usr$1"; } 2>/dev/null | sed -n '1s/:.*//p'
}
packages=$({
    echo ca-certificates
    echo libblis-serial-dev
    for file in $objects; do package_of "$file"; done
} | LC_ALL=C sort -u)

"$here/notices.sh" $packages >"$root/usr/share/doc/attnd/NOTICES"
"$here/sbom.sh" "$root/usr/bin/attnd" $packages >"$root/usr/share/doc/attnd/sbom.spdx.json"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
