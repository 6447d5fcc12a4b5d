#!/bin/sh
# Prints an SPDX 2.3 document in JSON: attnd, and each Debian package that the image has files of, with version, licence and package URL.
#   deploy/image/sbom.sh PROGRAM PACKAGE ...      wants SOURCE_DATE_EPOCH
# SPDX-License-Identifier: Apache-2.0
set -eu
program=$1
shift
licences=$(dirname "$0")/licences
version=$("$program" --version | cut -d' ' -f2)
hash=$(sha256sum "$program" | cut -d' ' -f1)
arch=$(dpkg --print-architecture)

licence_of() {
    licence=$(sed -n "s/^$1 //p" "$licences")
    [ -n "$licence" ] || {
        echo "deploy/image/licences does not have $1" >&2
        exit 1
    }
    echo "$licence"
}
for package in "$@"; do
    licence_of "$package" >/dev/null
done

cat <<END
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "attnd-$version",
  "documentNamespace": "https://spdx.org/spdxdocs/attnd-$version-$hash",
  "creationInfo": { "created": "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)", "creators": ["Tool: attnd-deploy-image-sbom.sh"] },
  "packages": [
    { "SPDXID": "SPDXRef-attnd", "name": "attnd", "versionInfo": "$version", "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
      "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION", "primaryPackagePurpose": "APPLICATION",
      "checksums": [{ "algorithm": "SHA256", "checksumValue": "$hash" }] }$(
    for package in "$@"; do
        licence=$(licence_of "$package")
        dpkg-query -W -f '${Version} ${source:Package} ${source:Version}\n' "$package" | {
            read -r number origin origin_number
            purl=$(echo "$number" | sed 's/+/%2B/g; s/~/%7E/g; s/:/%3A/g')
            printf ',\n    { "SPDXID": "SPDXRef-%s", "name": "%s", "versionInfo": "%s", "downloadLocation": "NOASSERTION", "filesAnalyzed": false,\n' \
                "$(echo "$package" | tr -c 'A-Za-z0-9.\n' -)" "$package" "$number"
            printf '      "licenseConcluded": "%s", "licenseDeclared": "%s", "copyrightText": "NOASSERTION", "sourceInfo": "built from %s %s",\n' \
                "$licence" "$licence" "$origin" "$origin_number"
            printf '      "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/debian/%s@%s?arch=%s" }] }' \
                "$package" "$purl" "$arch"
        }
    done
)
  ],
  "relationships": [
    { "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-attnd" }$(
    for package in "$@"; do
        case $package in
        *-dev) kind=STATIC_LINK ;;
        ca-certificates) kind=DEPENDS_ON ;;
        *) kind=DYNAMIC_LINK ;;
        esac
        printf ',\n    { "spdxElementId": "SPDXRef-attnd", "relationshipType": "%s", "relatedSpdxElement": "SPDXRef-%s" }' $kind "$(echo "$package" | tr -c 'A-Za-z0-9.\n' -)"
    done
)
  ]
}
END
