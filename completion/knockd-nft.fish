# Completion of knockd-nft's words in fish, for a folder of $fish_complete_path. Written by scripts/write-completion.mjs from src/cli/commands.ts.

# The words before the cursor without options and their values: the command and its operands.
function __knockd_nft_operands
    set -l skip
    for word in (commandline -opc)[2..]
        if set -q skip[1]
            set -e skip
        else if contains -- $word -c --config --for --interval --service --timeout --at-once --tokens --knocks --allow --host --page --gap --realm --port --secret-file --url --open-for --trace
            set skip 1
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

# Whether the line has this command, or none for '', and this number of operands, if it is given.
function __knockd_nft_at
    set -l operands (__knockd_nft_operands)
    test "$operands[1]" = "$argv[1]"; or return 1
    not set -q argv[2]; or test (count $operands[2..]) -eq $argv[2]
end

# Asks the program itself, with the --config of the line; prints nothing if the program does not.
function __knockd_nft_ask
    set -l words (commandline -opc)
    set -l config
    for at in (seq 2 (count $words))
        switch $words[$at]
            case -c --config
                set config --config $words[(math $at + 1)]
            case '--config=*'
                set config (string split -m 1 = -- $words[$at])
        end
    end
    $words[1] $config complete $argv </dev/null 2>/dev/null
end

complete -c knockd-nft -f
complete -c knockd-nft -n "__knockd_nft_at ''" -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n "__knockd_nft_at ''" -l help -d 'show what it does, and its options'
complete -c knockd-nft -n "__knockd_nft_at ''" -l version -d 'the version'
complete -c knockd-nft -n "__knockd_nft_at ''" -a check -d 'validate a configuration and say what it means'
complete -c knockd-nft -n "__knockd_nft_at ''" -a load -d 'make the kernel match the configuration'
complete -c knockd-nft -n "__knockd_nft_at ''" -a unload -d 'remove the table: nothing is guarded any more'
complete -c knockd-nft -n "__knockd_nft_at ''" -a render -d 'print the ruleset as an nft script'
complete -c knockd-nft -n "__knockd_nft_at ''" -a diff -d 'show what load would change; exit with 1 if anything'
complete -c knockd-nft -n "__knockd_nft_at ''" -a status -d 'show clients that are in or knock, and counters'
complete -c knockd-nft -n "__knockd_nft_at ''" -a run -d 'run the supervisor, which keeps kernel and file in step'
complete -c knockd-nft -n "__knockd_nft_at ''" -a try -d 'load a candidate; undo that unless confirmed in time'
complete -c knockd-nft -n "__knockd_nft_at ''" -a confirm -d 'keep the candidate; run this from a new login'
complete -c knockd-nft -n "__knockd_nft_at ''" -a undo -d 'undo the trial at once'
complete -c knockd-nft -n "__knockd_nft_at ''" -a grant -d 'let a client in without a knock, or for longer'
complete -c knockd-nft -n "__knockd_nft_at ''" -a revoke -d 'take back what a knock or a grant opened'
complete -c knockd-nft -n "__knockd_nft_at ''" -a watch -d 'show clients that are in or knock, and counters, live'
complete -c knockd-nft -n "__knockd_nft_at ''" -a on -d 'run a command for each event'
complete -c knockd-nft -n "__knockd_nft_at ''" -a metrics -d 'print the metrics, as OpenMetrics'
complete -c knockd-nft -n "__knockd_nft_at ''" -a init -d 'write a first configuration, with random secrets'
complete -c knockd-nft -n "__knockd_nft_at ''" -a user -d 'add, rotate, remove or show a user'
complete -c knockd-nft -n "__knockd_nft_at ''" -a import -d 'turn a knockd.conf into a configuration'
complete -c knockd-nft -n "__knockd_nft_at ''" -a knock -d 'knock on a host; hosts.json may know its knocks'
complete -c knockd-nft -n "__knockd_nft_at ''" -a proxy -d 'connect to a guarded port, for ssh: knock if it is closed'
complete -c knockd-nft -n "__knockd_nft_at ''" -a page -d 'print a web page that knocks with tokens'
complete -c knockd-nft -n "__knockd_nft_at ''" -a doctor -d 'find what keeps clients out or lets strangers in'
complete -c knockd-nft -n "__knockd_nft_at ''" -a demo -d 'show it all at work, in a network namespace'
complete -c knockd-nft -n "__knockd_nft_at ''" -a help -d 'show what a command does, and its options'
complete -c knockd-nft -n '__knockd_nft_at check' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at check' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at check' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at check 0' -F
complete -c knockd-nft -n '__knockd_nft_at load' -l last-good -d 'if the file is not valid, load the last good one'
complete -c knockd-nft -n '__knockd_nft_at load' -l force -d 'even if it was tried and not confirmed, or if a supervisor follows another file'
complete -c knockd-nft -n '__knockd_nft_at load' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at load' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at load' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at unload' -l force -d 'even if a supervisor runs; it then waits for the next load'
complete -c knockd-nft -n '__knockd_nft_at unload' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at unload' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at unload' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at render' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at render' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at render' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at render 0' -F
complete -c knockd-nft -n '__knockd_nft_at diff' -l nft -d 'show the transaction as nft commands, with the sequences'
complete -c knockd-nft -n '__knockd_nft_at diff' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at diff' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at diff' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at status' -l check -d 'for a monitor such as Nagios: one line, and exit status 0, 1, 2 or 3'
complete -c knockd-nft -n '__knockd_nft_at status' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at status' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at status' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at run' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at run' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at run' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at try' -l for -r -f -d 'how long to wait for the confirmation (default: 30s)'
complete -c knockd-nft -n '__knockd_nft_at try' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at try' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at try' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at try 0' -F
complete -c knockd-nft -n '__knockd_nft_at confirm' -l force -d 'even over an old connection, or one from this host itself'
complete -c knockd-nft -n '__knockd_nft_at confirm' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at confirm' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at confirm' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at undo' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at undo' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at undo' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at grant' -l for -r -f -d 'how long: 30s, 2h (default: openFor of the service)'
complete -c knockd-nft -n '__knockd_nft_at grant' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at grant' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at grant' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at grant 0' -f -a '(__knockd_nft_ask services)'
complete -c knockd-nft -n '__knockd_nft_at revoke' -l all -d 'all clients, of one service or of all'
complete -c knockd-nft -n '__knockd_nft_at revoke' -l cut -d 'end their connections, too; otherwise these go on'
complete -c knockd-nft -n '__knockd_nft_at revoke' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at revoke' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at revoke' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at revoke 0' -f -a '(__knockd_nft_ask services)'
complete -c knockd-nft -n '__knockd_nft_at revoke 1' -f -a '(__knockd_nft_ask users (__knockd_nft_operands)[-1])'
complete -c knockd-nft -n '__knockd_nft_at watch' -l interval -r -f -d 'the pause between two readings (default: 1s)'
complete -c knockd-nft -n '__knockd_nft_at watch' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at watch' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at watch' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at on' -l service -r -f -a '(__knockd_nft_ask services)' -d 'only events of this service'
complete -c knockd-nft -n '__knockd_nft_at on' -l timeout -r -f -d 'end a command after this time (default: 30s)'
complete -c knockd-nft -n '__knockd_nft_at on' -l at-once -r -f -d 'how many commands may run at the same time (default: 4)'
complete -c knockd-nft -n '__knockd_nft_at on' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at on' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at on' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at on 0' -f -a 'loaded swapped unchanged invalid restored opened refused granted revoked lost held stopped'
complete -c knockd-nft -n '__knockd_nft_at on 1' -f -a '(__fish_complete_command)'
complete -c knockd-nft -n '__knockd_nft_at metrics' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at metrics' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at metrics' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at init' -l service -r -f -d 'what to hide (default: ssh, where it listens)'
complete -c knockd-nft -n '__knockd_nft_at init' -l tokens -r -f -d 'make one-time tokens for this user'
complete -c knockd-nft -n '__knockd_nft_at init' -l knocks -r -f -d 'the number of knocks in the random sequence (default: 4)'
complete -c knockd-nft -n '__knockd_nft_at init' -l allow -r -f -d 'addresses that need no knock: your way back in'
complete -c knockd-nft -n '__knockd_nft_at init' -l force -d 'replace an existing file and keep a copy; under a supervisor, write FILE.new'
complete -c knockd-nft -n '__knockd_nft_at init' -l yes -d 'ask nothing, as without a terminal; make a sequence unless there is --tokens'
complete -c knockd-nft -n '__knockd_nft_at init' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at init' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at init' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at user' -l sequence -d 'with add: make a sequence instead of one-time tokens'
complete -c knockd-nft -n '__knockd_nft_at user' -l knocks -r -f -d 'how many knocks a sequence has (default: 4)'
complete -c knockd-nft -n '__knockd_nft_at user' -l host -r -f -d 'the name or address that clients use for this server'
complete -c knockd-nft -n '__knockd_nft_at user' -l page -r -f -d 'the URL of the page that knocks, to print a link for a phone'
complete -c knockd-nft -n '__knockd_nft_at user' -l qr -d 'print the link as a QR code even without a terminal'
complete -c knockd-nft -n '__knockd_nft_at user' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at user' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at user' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at user 0' -f -a 'add rotate remove show'
complete -c knockd-nft -n '__knockd_nft_at user 1' -f -a '(__knockd_nft_ask services)'
complete -c knockd-nft -n '__knockd_nft_at user 2' -f -a '(__knockd_nft_ask users (__knockd_nft_operands)[-1])'
complete -c knockd-nft -n '__knockd_nft_at import' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at import' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at import' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at import 0' -F
complete -c knockd-nft -n '__knockd_nft_at knock' -l wait -d 'knock until a connection to the TCP port succeeds (uses up a singleUse opening)'
complete -c knockd-nft -n '__knockd_nft_at knock' -l gap -r -f -d 'pause between two knocks (default: 200ms)'
complete -c knockd-nft -n '__knockd_nft_at knock' -l timeout -r -f -d 'how long to wait, knocking again (default: 15s)'
complete -c knockd-nft -n '__knockd_nft_at knock' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at knock' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at knock' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at knock 0' -f -a '(__knockd_nft_ask hosts)'
complete -c knockd-nft -n '__knockd_nft_at proxy' -l gap -r -f -d 'pause between two knocks (default: 200ms)'
complete -c knockd-nft -n '__knockd_nft_at proxy' -l timeout -r -f -d 'how long to wait, knocking again (default: 15s)'
complete -c knockd-nft -n '__knockd_nft_at proxy' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at proxy' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at proxy' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at proxy 0' -f -a '(__knockd_nft_ask hosts)'
complete -c knockd-nft -n '__knockd_nft_at page' -l host -r -f -a '(__knockd_nft_ask hosts)' -d 'the host to knock on: an entry of hosts.json, or an address'
complete -c knockd-nft -n '__knockd_nft_at page' -l service -r -f -d 'the service, unless hosts.json has it'
complete -c knockd-nft -n '__knockd_nft_at page' -l realm -r -f -d 'the realm of the server (default: "default")'
complete -c knockd-nft -n '__knockd_nft_at page' -l port -r -f -d 'where the server expects tokens (default: 62201)'
complete -c knockd-nft -n '__knockd_nft_at page' -l secret-file -r -F -d 'a file with the secret, unless hosts.json has it'
complete -c knockd-nft -n '__knockd_nft_at page' -l url -r -f -d 'the URL to open afterwards'
complete -c knockd-nft -n '__knockd_nft_at page' -l open-for -r -f -d 'how long the port stays open (default: 10s)'
complete -c knockd-nft -n '__knockd_nft_at page' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at page' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at page' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at doctor' -l trace -r -f -d 'watch this client while it knocks and connects'
complete -c knockd-nft -n '__knockd_nft_at doctor' -l for -r -f -d 'how long to watch (default: 30s)'
complete -c knockd-nft -n '__knockd_nft_at doctor' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at doctor' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at doctor' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at demo' -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n '__knockd_nft_at demo' -l json -d 'print the result as JSON'
complete -c knockd-nft -n '__knockd_nft_at demo' -l help -d 'show what it does, and its options'
complete -c knockd-nft -n '__knockd_nft_at help 0' -f -a 'check load unload render diff status run try confirm undo grant revoke watch on metrics init user import knock proxy page doctor demo help'
