# Steps of all packages. Their scripts begin with this text: scripts/package/tree.mjs puts it in.
units='knockd-nft-tokens.timer knockd-nft.service knockd-nft-load.service'

runs_systemd() {
    [ -d /run/systemd/system ]
}

# Call this before the files go. The words are the command that stops units here.
before_removal() {
    # While something is tried nothing is unloaded, and nobody could undo it without the program.
    /usr/bin/knockd-nft undo >/dev/null 2>&1 || true
    if runs_systemd; then
        # stopping the loader unloads the table, and stops the supervisor before
        "$@" $units || true
    fi
    # The loader does not unload what it could not load itself, and without systemd there is no loader.
    /usr/bin/knockd-nft unload --force >/dev/null || true
    echo 'knockd-nft is removed: nothing is guarded any more, every port is open unless something else closes it'
    rm -f /run/knockd-nft/hold /run/knockd-nft/revoked /run/knockd-nft/tried
}

# When they are gone.
after_removal() {
    if runs_systemd; then
        systemctl --system daemon-reload >/dev/null || true
        systemctl --system reset-failed 'knockd-nft*' >/dev/null 2>&1 || true
    fi
    rm -rf /run/knockd-nft
}

# The configuration, copies that init keeps, and files that an interrupted write leaves: all of them hold secrets. The user stays:
# files elsewhere may be its own.
purge() {
    hex='[0-9a-f]'
    random=$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex
    for file in /etc/knockd-nft.json /etc/knockd-nft.json.new; do
        rm -f "$file" "$file".bak* "$file".$random "$file".$random.tmp "$file".$random.$random.tmp "$file".[0-9]*.$random.tmp "$file".??????.tmp
    done
    rm -rf /var/lib/knockd-nft
}
