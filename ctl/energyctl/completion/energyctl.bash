# bash completion of energyctl(1). Written by packaging/man/generate.py from the definitions of the verbs: change those, not this.

# Is it a verb?
_energyctl_is() {
    case "$1" in
    'up') echo 'yes' ;;
    'simulate') echo 'yes' ;;
    'study') echo 'yes' ;;
    'start') echo 'yes' ;;
    'status') echo 'yes' ;;
    'price') echo 'yes' ;;
    'watch') echo 'yes' ;;
    'top') echo 'yes' ;;
    'wait') echo 'yes' ;;
    'workers') echo 'yes' ;;
    'homes') echo 'yes' ;;
    'weather') echo 'yes' ;;
    'event') echo 'yes' ;;
    'event list') echo 'yes' ;;
    'event raise') echo 'yes' ;;
    'event clear') echo 'yes' ;;
    'ledger') echo 'yes' ;;
    'ledger show') echo 'yes' ;;
    'ledger verify') echo 'yes' ;;
    'ledger check') echo 'yes' ;;
    'ledger export') echo 'yes' ;;
    'ledger backup') echo 'yes' ;;
    'ledger restore') echo 'yes' ;;
    'meters') echo 'yes' ;;
    'meters list') echo 'yes' ;;
    'meters watch') echo 'yes' ;;
    'meters export') echo 'yes' ;;
    'meters plot') echo 'yes' ;;
    'report') echo 'yes' ;;
    'ask') echo 'yes' ;;
    'ask report') echo 'yes' ;;
    'ask forecast') echo 'yes' ;;
    'stop') echo 'yes' ;;
    'restart') echo 'yes' ;;
    'reload') echo 'yes' ;;
    'reset') echo 'yes' ;;
    'home') echo 'yes' ;;
    'home start') echo 'yes' ;;
    'home stop') echo 'yes' ;;
    'logs') echo 'yes' ;;
    'doctor') echo 'yes' ;;
    'check') echo 'yes' ;;
    'metrics') echo 'yes' ;;
    'explain') echo 'yes' ;;
    'explain price') echo 'yes' ;;
    'explain trade') echo 'yes' ;;
    'explain home') echo 'yes' ;;
    'replay') echo 'yes' ;;
    'kpi') echo 'yes' ;;
    'bug-report') echo 'yes' ;;
    'install-units') echo 'yes' ;;
    'uninstall-units') echo 'yes' ;;
    'config') echo 'yes' ;;
    'config check') echo 'yes' ;;
    'config show') echo 'yes' ;;
    'config default') echo 'yes' ;;
    'import') echo 'yes' ;;
    'scenario') echo 'yes' ;;
    'scenario list') echo 'yes' ;;
    'scenario show') echo 'yes' ;;
    'scenario compile') echo 'yes' ;;
    'ipc') echo 'yes' ;;
    'ipc ls') echo 'yes' ;;
    'ipc clean') echo 'yes' ;;
    'call') echo 'yes' ;;
    'completion') echo 'yes' ;;
    'version') echo 'yes' ;;
    esac
}

# The options of a verb.
_energyctl_options() {
    case "$1" in
    'up') echo '--for --speed --homes --seed --state --fresh --shards --lockstep --report --detach --json --run --help' ;;
    'simulate') echo '--for --homes --seed --shards --engine --address --workers --out --compare --resume --json --run --help' ;;
    'study') echo '--list --show --dry-run --case --out --engine --address --workers --csv --keep --resume --anew --json --run --help' ;;
    'start') echo '--user --json --run --help' ;;
    'status') echo '--user --json --run --help' ;;
    'price') echo '--last --explain --slot --json --run --help' ;;
    'top') echo '-w --interval -n --count --user --json --run --help' ;;
    'wait') echo '--timeout --json --run --help' ;;
    'homes') echo '--first --count --json --run --help' ;;
    'event raise') echo '--intensity --for --json --run --help' ;;
    'ledger show') echo '--first --count --json --run --help' ;;
    'ledger verify') echo '--state --compiled --json --run --help' ;;
    'ledger check') echo '--state --compiled --json --run --help' ;;
    'ledger export') echo '--state --compiled --json --run --help' ;;
    'ledger backup') echo '-o --out --state --compiled --json --run --help' ;;
    'ledger restore') echo '--state --force --json --run --help' ;;
    'meters list') echo '--directory --json --run --help' ;;
    'meters watch') echo '--directory --every --count --json --run --help' ;;
    'meters export') echo '--directory --json --run --help' ;;
    'meters plot') echo '--day --out --timezone --directory --json --run --help' ;;
    'report') echo '--state --html --out --day --no-check --compiled --json --run --help' ;;
    'ask report') echo '--last --from --to --home --timeout --dispatcher --json --run --help' ;;
    'ask forecast') echo '--for --samples --seed --weather --no-events --no-homes --timeout --dispatcher --json --run --help' ;;
    'stop') echo '--user --json --run --help' ;;
    'restart') echo '--user --json --run --help' ;;
    'reload') echo '--wait --timeout --user --json --run --help' ;;
    'reset') echo '--state --user --json --run --help' ;;
    'home start') echo '--user --json --run --help' ;;
    'home stop') echo '--user --json --run --help' ;;
    'logs') echo '-u --unit --home -n --lines -f --follow -x --explain --user --json --run --help' ;;
    'doctor') echo '--user --json --run --help' ;;
    'check') echo '--price-warning --price-critical --late-warning --late-critical --missing-warning --missing-critical --restarts-warning --restarts-critical --stale-critical --json --run --help' ;;
    'explain price') echo '--state --ledger --compiled --json --run --help' ;;
    'explain trade') echo '--state --ledger --compiled --json --run --help' ;;
    'explain home') echo '--state --ledger --compiled --json --run --help' ;;
    'replay') echo '--state --ledger --compiled --ledger-only --json --run --help' ;;
    'kpi') echo '--home --state --compiled --json --run --help' ;;
    'bug-report') echo '-o --out -n --lines --json --run --help' ;;
    'install-units') echo '--user --enable --print --json --run --help' ;;
    'uninstall-units') echo '--user --json --run --help' ;;
    'import') echo '-o --out --force --strict --tz --unit --registers --stamp --slot --time-column --home-column --load --pv --net --import --export --tariff-column --feed-in-column --carbon-column --exclude --time-format --delimiter --decimal --year --interpolate --limit-kw --latitude --longitude --json --run --help' ;;
    'call') echo '--more --json --run --help' ;;
    *) echo '--json --run --help' ;;
    esac
}

# What an option of a verb takes; a flag takes nothing, and is not here.
_energyctl_takes() {
    case "$1 $2" in
    *' --run') echo 'directories' ;;
    'up --for') echo 'nothing' ;;
    'up --speed') echo 'nothing' ;;
    'up --homes') echo 'nothing' ;;
    'up --seed') echo 'nothing' ;;
    'up --state') echo 'directories' ;;
    'up --shards') echo 'nothing' ;;
    'up --report') echo 'directories' ;;
    'simulate --for') echo 'nothing' ;;
    'simulate --homes') echo 'nothing' ;;
    'simulate --seed') echo 'nothing' ;;
    'simulate --shards') echo 'nothing' ;;
    'simulate --engine') echo 'nothing' ;;
    'simulate --address') echo 'nothing' ;;
    'simulate --workers') echo 'nothing' ;;
    'simulate --out') echo 'directories' ;;
    'study --case') echo 'nothing' ;;
    'study --out') echo 'directories' ;;
    'study --engine') echo 'nothing' ;;
    'study --address') echo 'nothing' ;;
    'study --workers') echo 'nothing' ;;
    'price --last') echo 'nothing' ;;
    'price --slot') echo 'nothing' ;;
    'top -w') echo 'nothing' ;;
    'top --interval') echo 'nothing' ;;
    'top -n') echo 'nothing' ;;
    'top --count') echo 'nothing' ;;
    'wait --timeout') echo 'nothing' ;;
    'homes --first') echo 'homes' ;;
    'homes --count') echo 'nothing' ;;
    'event raise --intensity') echo 'nothing' ;;
    'event raise --for') echo 'nothing' ;;
    'ledger show --first') echo 'homes' ;;
    'ledger show --count') echo 'nothing' ;;
    'ledger verify --state') echo 'directories' ;;
    'ledger verify --compiled') echo 'directories' ;;
    'ledger check --state') echo 'directories' ;;
    'ledger check --compiled') echo 'directories' ;;
    'ledger export --state') echo 'directories' ;;
    'ledger export --compiled') echo 'directories' ;;
    'ledger backup -o') echo 'files' ;;
    'ledger backup --out') echo 'files' ;;
    'ledger backup --state') echo 'directories' ;;
    'ledger backup --compiled') echo 'directories' ;;
    'ledger restore --state') echo 'directories' ;;
    'meters list --directory') echo 'directories' ;;
    'meters watch --directory') echo 'directories' ;;
    'meters watch --every') echo 'nothing' ;;
    'meters watch --count') echo 'nothing' ;;
    'meters export --directory') echo 'directories' ;;
    'meters plot --day') echo 'nothing' ;;
    'meters plot --out') echo 'files' ;;
    'meters plot --timezone') echo 'nothing' ;;
    'meters plot --directory') echo 'directories' ;;
    'report --state') echo 'directories' ;;
    'report --out') echo 'directories' ;;
    'report --day') echo 'nothing' ;;
    'report --compiled') echo 'directories' ;;
    'ask report --last') echo 'nothing' ;;
    'ask report --from') echo 'nothing' ;;
    'ask report --to') echo 'nothing' ;;
    'ask report --home') echo 'homes' ;;
    'ask report --timeout') echo 'nothing' ;;
    'ask report --dispatcher') echo 'nothing' ;;
    'ask forecast --for') echo 'nothing' ;;
    'ask forecast --samples') echo 'nothing' ;;
    'ask forecast --seed') echo 'nothing' ;;
    'ask forecast --weather') echo 'nothing' ;;
    'ask forecast --timeout') echo 'nothing' ;;
    'ask forecast --dispatcher') echo 'nothing' ;;
    'reload --timeout') echo 'nothing' ;;
    'logs -u') echo 'units' ;;
    'logs --unit') echo 'units' ;;
    'logs --home') echo 'homes' ;;
    'logs -n') echo 'nothing' ;;
    'logs --lines') echo 'nothing' ;;
    'check --price-warning') echo 'nothing' ;;
    'check --price-critical') echo 'nothing' ;;
    'check --late-warning') echo 'nothing' ;;
    'check --late-critical') echo 'nothing' ;;
    'check --missing-warning') echo 'nothing' ;;
    'check --missing-critical') echo 'nothing' ;;
    'check --restarts-warning') echo 'nothing' ;;
    'check --restarts-critical') echo 'nothing' ;;
    'explain price --state') echo 'directories' ;;
    'explain price --ledger') echo 'files' ;;
    'explain price --compiled') echo 'directories' ;;
    'explain trade --state') echo 'directories' ;;
    'explain trade --ledger') echo 'files' ;;
    'explain trade --compiled') echo 'directories' ;;
    'explain home --state') echo 'directories' ;;
    'explain home --ledger') echo 'files' ;;
    'explain home --compiled') echo 'directories' ;;
    'replay --state') echo 'directories' ;;
    'replay --ledger') echo 'files' ;;
    'replay --compiled') echo 'directories' ;;
    'kpi --home') echo 'homes' ;;
    'kpi --state') echo 'directories' ;;
    'kpi --compiled') echo 'directories' ;;
    'bug-report -o') echo 'files' ;;
    'bug-report --out') echo 'files' ;;
    'bug-report -n') echo 'nothing' ;;
    'bug-report --lines') echo 'nothing' ;;
    'import -o') echo 'directories' ;;
    'import --out') echo 'directories' ;;
    'import --tz') echo 'nothing' ;;
    'import --unit') echo 'nothing' ;;
    'import --stamp') echo 'nothing' ;;
    'import --slot') echo 'nothing' ;;
    'import --time-column') echo 'nothing' ;;
    'import --home-column') echo 'nothing' ;;
    'import --load') echo 'nothing' ;;
    'import --pv') echo 'nothing' ;;
    'import --net') echo 'nothing' ;;
    'import --import') echo 'nothing' ;;
    'import --export') echo 'nothing' ;;
    'import --tariff-column') echo 'nothing' ;;
    'import --feed-in-column') echo 'nothing' ;;
    'import --carbon-column') echo 'nothing' ;;
    'import --exclude') echo 'nothing' ;;
    'import --time-format') echo 'nothing' ;;
    'import --delimiter') echo 'nothing' ;;
    'import --decimal') echo 'nothing' ;;
    'import --year') echo 'nothing' ;;
    'import --interpolate') echo 'nothing' ;;
    'import --limit-kw') echo 'nothing' ;;
    'import --latitude') echo 'nothing' ;;
    'import --longitude') echo 'nothing' ;;
    esac
}

# What comes as an argument of a verb, counted from 0.
_energyctl_argument() {
    case "$1 $2" in
    ' 0') echo 'words up simulate study start status price watch top wait workers homes weather event ledger meters report ask stop restart reload reset home logs doctor check metrics explain replay kpi bug-report install-units uninstall-units config import scenario ipc call completion version' ;;
    'up 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'simulate 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'study 0') echo 'nothing' ;;
    'start '*) echo 'units' ;;
    'wait '*) echo 'nothing' ;;
    'homes 0') echo 'homes' ;;
    'event 0') echo 'words list raise clear' ;;
    'event raise 0') echo 'kinds' ;;
    'event clear 0') echo 'active-kinds' ;;
    'ledger 0') echo 'words show verify check export backup restore' ;;
    'ledger show 0') echo 'nothing' ;;
    'ledger export 0') echo 'directories' ;;
    'ledger restore 0') echo 'files' ;;
    'meters 0') echo 'words list watch export plot' ;;
    'meters export 0') echo 'files' ;;
    'meters export '*) echo 'nothing' ;;
    'meters plot 0') echo 'nothing' ;;
    'ask 0') echo 'words report forecast' ;;
    'stop '*) echo 'units' ;;
    'restart '*) echo 'units' ;;
    'home 0') echo 'words start stop' ;;
    'home start 0') echo 'singles' ;;
    'home stop 0') echo 'singles' ;;
    'explain 0') echo 'words price trade home' ;;
    'explain price 0') echo 'nothing' ;;
    'explain trade 0') echo 'nothing' ;;
    'explain home 0') echo 'homes' ;;
    'explain home 1') echo 'nothing' ;;
    'config 0') echo 'words check show default' ;;
    'config check 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'config show 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'import 0') echo 'files' ;;
    'scenario 0') echo 'words list show compile' ;;
    'scenario show 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'scenario compile 0') echo 'paths classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade' ;;
    'ipc 0') echo 'words ls clean' ;;
    'call 0') echo 'words Status Price Explain Homes Weather Events Raise Clear Ledger Orders Slots Compacted Present Verify Resources Reload Stop Watch' ;;
    'call 1') echo 'nothing' ;;
    'completion 0') echo 'words bash zsh fish' ;;
    esac
}

# Offers what completes a value.
_energyctl_offer() {
    case "$1" in
    'words '*) _energyctl_words "${1#words }" ;;
    'paths '*)
        _energyctl_words "${1#paths }"
        _energyctl_paths -f
        ;;
    files) _energyctl_paths -f ;;
    directories) _energyctl_paths -d ;;
    homes | singles | kinds | active-kinds | units) _energyctl_ask_market "$1" ;;
    esac
}

# Asks energyctl for words that depend on what runs: bounded, and none if the market is down.
_energyctl_ask_market() {
    mapfile -t COMPREPLY < <(timeout 1 "${program/#\~\//$HOME/}" "${run[@]}" completion bash \
        --words "$1" --prefix "$cur" 2>/dev/null)
}

_energyctl_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_energyctl_paths() {
    local -a found
    compopt -o filenames 2>/dev/null
    mapfile -t found < <(compgen "$1" -- "$cur")
    COMPREPLY+=("${found[@]}")
}

_energyctl() {
    local program=$1 cur=${COMP_WORDS[COMP_CWORD]} command='' option='' closed='' word
    local -i arguments=0 i
    local -a run=() words=()
    # bash cuts --run=DIR at the equals sign: put it together again
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]})) && [[ $word == = || ${words[-1]} == --*= ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    if [[ $cur == = ]] && ((${#words[@]})); then
        words[-1]+==
        cur=''
    fi
    for word in "${words[@]}"; do
        if [[ -n $option ]]; then
            [[ $option != --run ]] || run=(--run "$word")
            option=''
        elif [[ -n $closed ]]; then
            arguments+=1
        elif [[ $word == -- ]]; then
            closed=yes
        elif [[ $word == --*= ]]; then
            option=${word%=}
        elif [[ $word == --run=* ]]; then
            run=(--run "${word#*=}")
        elif [[ $word == -* ]]; then
            [[ $word == *=* || -z $(_energyctl_takes "$command" "$word") ]] || option=$word
        elif [[ -n $(_energyctl_is "${command:+$command }$word") ]]; then
            command+=${command:+ }$word
        else
            arguments+=1
        fi
    done
    COMPREPLY=()
    if [[ -n $option ]]; then
        _energyctl_offer "$(_energyctl_takes "$command" "$option")"
    elif [[ $cur == -* && -z $closed ]]; then
        _energyctl_words "$(_energyctl_options "$command")"
    else
        _energyctl_offer "$(_energyctl_argument "$command" "$arguments")"
    fi
}

complete -F _energyctl energyctl
