#!/bin/sh
# What a guest does: it mounts what a program needs, runs the checks, and ends.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /tmp
ln -sf /proc/self/fd /dev/fd
ip link set lo up
cd /repo || exit
echo # the firmware has left escape sequences on this line
echo "# node $(node --version)"
echo "# nft $(nft --version)"
node --test-reporter=tap guest/checks.js
echo "# ended with $?"
poweroff -f
