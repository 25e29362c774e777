#!/bin/sh
# Removes the files that install.sh has installed; with --purge also the configuration, and all notes.
set -e

@COMMON@
list=/usr/lib/knockd-nft/files
case "$*" in
    '' | --purge) ;;
    *)
        echo 'usage: uninstall.sh [--purge]' >&2
        exit 64
        ;;
esac
if [ "$(id -u)" != 0 ]; then
    echo 'knockd-nft: not permitted: use sudo' >&2
    exit 1
fi
if [ -e $list ]; then
    before_removal systemctl stop
    if command -v systemctl >/dev/null; then systemctl --system disable $units >/dev/null 2>&1 || true; fi
    while read -r file; do
        rm -f "$file"
    done <$list
    rm -f $list
    # folders that nobody else has anything in
    for folder in /usr/lib/knockd-nft /usr/share/knockd-nft /usr/share/doc/knockd-nft; do
        [ ! -d $folder ] || find $folder -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    after_removal
fi
[ "$1" != --purge ] || purge
