#!/bin/sh
# Knocks with a one-time token: knock.sh HOST REALM SERVICE FILE [PORT] [AHEAD]
# FILE holds the secret, 64 hexadecimal digits, mode 600. For any sh (dash, busybox) with sha256sum, sed, cut, and an nc that has -u.
LC_ALL=C; export LC_ALL; window=$(($(date +%s) / 60 + ${6:-0})); read -r secret <"$4"
octal() { set -f; for b in $(echo "$1" | sed 's/../0x& /g'); do printf '\\%03o' $((b ^ $2)); done; }  # bytes xor one
key=$secret; while [ ${#key} -lt 128 ]; do key=${key}00; done
inner=$({ printf "$(octal "$key" 0x36)"; printf %s "knockd-nft/1 $2 $3 $window"; } | sha256sum)
token=$({ printf "$(octal "$key" 0x5c)"; printf "$(octal "${inner%% *}" 0)"; } | sha256sum | cut -c1-32)
[ "$1" = - ] && echo "$token" && exit  # for a look at it
printf '%-24s%s' knockd-nft/1 "$token" | nc -u -w 1 "$1" "${5:-62201}"
