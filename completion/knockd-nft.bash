# Completion of knockd-nft's words in bash: for bash-completion's folder, or to be sourced. It needs only bash.
# It asks the program for services, users and hosts, which the program reads from its files.

_knockd_nft() {
  COMPREPLY=()
  local current=${COMP_WORDS[COMP_CWORD]} command='' option='' words='' config=() operands=() word i
  local commands='check load unload render diff status run try confirm undo grant revoke watch on metrics init user import doctor knock proxy page demo help'

  # The words before the cursor. `--for=1m` is three words.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      -c | --config | --for | --trace | --interval | --knocks | --service | --tokens | --page | --allow | --gap | --timeout | --host | --realm | --port | --secret-file | --url | --open-for | --at-once)
        [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
        if ((++i >= COMP_CWORD)); then
          option=$word
        elif [[ $word == -c || $word == --config ]]; then
          config=(--config "${COMP_WORDS[i]/#~\//$HOME/}")
        fi
        ;;
      -*) ;;
      *) if [[ $command ]]; then operands+=("$word"); else command=$word; fi ;;
    esac
  done
  [[ $option && $current == = ]] && current=

  case $option in
    '') ;;
    --service) [[ $command == on ]] && words=$(_knockd_nft_ask "$1" services) ;;
    --host) words=$(_knockd_nft_ask "$1" hosts) ;;
    -c | --config | --secret-file) compopt -o default 2>/dev/null; return ;; # the names of files
    *) return ;;
  esac

  if [[ $current == -* ]]; then
    words='--config --help'
    case $command in
      '') words+=' --version' ;;
      help) words= ;;
      load) words+=' --json --last-good --force' ;;
      unload | confirm) words+=' --json --force' ;;
      try | grant) words+=' --json --for' ;;
      revoke) words+=' --json --all --cut' ;;
      status) words+=' --json --check' ;;
      diff) words+=' --json --nft' ;;
      watch) words+=' --json --interval' ;;
      on) words+=' --json --service --timeout --at-once' ;;
      doctor) words+=' --json --trace --for' ;;
      init) words+=' --json --service --tokens --knocks --allow --force --yes' ;;
      user) words+=' --json --sequence --knocks --host --page --qr' ;;
      knock) words+=' --json --wait --gap --timeout' ;;
      proxy) words+=' --json --gap --timeout' ;;
      page) words+=' --json --host --service --realm --port --secret-file --url --open-for' ;;
      *) words+=' --json' ;;
    esac
  else
    case "$command ${#operands[@]}" in
      ' 0' | 'help 0') words=$commands ;;
      'check 0' | 'render 0' | 'try 0' | 'import 0') compopt -o default 2>/dev/null ;;
      'grant 0' | 'revoke 0') words=$(_knockd_nft_ask "$1" services) ;;
      'on 0') [[ $option ]] || words='opened refused granted revoked loaded swapped unchanged invalid restored lost held stopped' ;;
      'on 1') words=$(compgen -c -- "$current") ;;
      'user 0') words='add rotate remove show' ;;
      'user 1') words=$(_knockd_nft_ask "$1" services) ;;
      'user 2') words=$(_knockd_nft_ask "$1" users "${operands[1]}") ;;
      'revoke 1') words=$(_knockd_nft_ask "$1" users "${operands[0]}") ;;
      'knock 0' | 'proxy 0') words=$(_knockd_nft_ask "$1" hosts) ;;
    esac
  fi
  # the words are expanded neither here, as by compgen, nor when the line is run
  while read -r word; do
    [[ $word && $word == "$current"* ]] && printf -v "COMPREPLY[${#COMPREPLY[@]}]" %q "$word"
  done <<<"${words// /$'\n'}"
}

# Asks the program itself, with the --config of the caller; prints nothing if the program does not.
_knockd_nft_ask() {
  "$1" "${config[@]}" complete "${@:2}" </dev/null 2>/dev/null
}

complete -F _knockd_nft knockd-nft
