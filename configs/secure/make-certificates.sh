#!/bin/sh
# Certificates to try configs/secure with: an authority of its own, and one certificate each for policy, robot and viewer.
#
#   configs/secure/make-certificates.sh [FOLDER [NAME...]]       configs/secure/certificates by default
#
# Certificates are for 127.0.0.1 and localhost and for a month. Give robots certificates of your own authority, with their
# host names, before a network that others share.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/certificates}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- policy robot viewer
umask 077
mkdir -p "$folder"
cd "$folder"
if [ ! -e ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj "/CN=kinestream test authority" -keyout ca-key.pem -out ca.pem 2>/dev/null
fi
for name; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
        -keyout "$name-key.pem" -out "$name.csr" 2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 30 \
        -extfile "$name.ext" -out "$name.pem" 2>/dev/null
    rm "$name.csr" "$name.ext"
done
echo "certificates of $* in $folder"
