#!/bin/sh
# Installs knockd-nft, or upgrades it: on Linux with systemd, for distributions without dpkg and rpm.
set -e

@COMMON@
fail() {
    echo "knockd-nft: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail 'not permitted: use sudo'
cd "$(dirname "$0")"
files/usr/lib/knockd-nft/bin/node --version >/dev/null ||
    fail "this is for @MACHINE@, with glibc 2.28 or newer and libstdc++; this machine is $(uname -m). Nothing was installed"
if command -v systemctl >/dev/null; then
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge @SYSTEMD@ ] ||
        fail "the units need systemd @SYSTEMD@ or newer; this is ${version:-an unknown version}. Nothing was installed"
fi
list=/usr/lib/knockd-nft/files
[ -e $list ] || [ ! -e /usr/lib/knockd-nft ] ||
    fail 'another package of it, or what was copied by hand, is in /usr/lib/knockd-nft: remove that first. Nothing was installed'

# what goes where, of the version that is there
first=--first
[ ! -e $list ] || first=
[ -n "$first" ] || cp $list $list.before
(cd files && find . ! -type d | cut -c 2- | sort) >list
# a running program keeps the file that it was started from: each one is replaced, never written over
while read -r file; do
    mkdir -p "$(dirname "$file")"
    cp -P "files$file" "$file.new-knockd-nft"
    mv -fT "$file.new-knockd-nft" "$file"
done <list
cp uninstall.sh /usr/lib/knockd-nft/uninstall.sh
echo /usr/lib/knockd-nft/uninstall.sh | sort - list >$list
rm list
if [ -e $list.before ]; then
    while read -r file; do
        grep -qxF "$file" $list || rm -f "$file"
    done <$list.before
    rm $list.before
fi
if command -v restorecon >/dev/null; then restorecon -R /usr/lib/knockd-nft /usr/bin/knockd-nft || true; fi

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers knockd-nft.conf
elif ! grep -q '^knockd-nft:' /etc/passwd; then
    useradd --system --user-group --no-create-home --shell /usr/sbin/nologin knockd-nft
fi
/usr/bin/knockd-nft setup $first
if ! command -v systemctl >/dev/null; then
    echo 'knockd-nft: there is no systemd here: have something call "knockd-nft load" early at boot'
elif [ -n "$first" ]; then
    systemctl --system enable $units
    if runs_systemd; then systemctl start $units || true; fi
elif runs_systemd; then
    # An upgrade never starts units that were stopped, and leaves the loader alone: the supervisor loads.
    systemctl --system daemon-reload
    systemctl try-restart knockd-nft.service || true
fi
/usr/bin/knockd-nft setup --next
echo 'knockd-nft: sudo /usr/lib/knockd-nft/uninstall.sh removes it; with --purge also the configuration and all notes'
