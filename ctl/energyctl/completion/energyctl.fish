# fish completion of energyctl(1). Written by packaging/man/generate.py from the definitions of the verbs: change those, not this.

function __energyctl_is
    contains -- "$argv[1]" \
        'up' \
        'simulate' \
        'study' \
        'start' \
        'status' \
        'price' \
        'watch' \
        'top' \
        'wait' \
        'workers' \
        'homes' \
        'weather' \
        'event' \
        'event list' \
        'event raise' \
        'event clear' \
        'ledger' \
        'ledger show' \
        'ledger verify' \
        'ledger check' \
        'ledger export' \
        'ledger backup' \
        'ledger restore' \
        'meters' \
        'meters list' \
        'meters watch' \
        'meters export' \
        'meters plot' \
        'report' \
        'ask' \
        'ask report' \
        'ask forecast' \
        'stop' \
        'restart' \
        'reload' \
        'reset' \
        'home' \
        'home start' \
        'home stop' \
        'logs' \
        'doctor' \
        'check' \
        'metrics' \
        'explain' \
        'explain price' \
        'explain trade' \
        'explain home' \
        'replay' \
        'kpi' \
        'bug-report' \
        'install-units' \
        'uninstall-units' \
        'config' \
        'config check' \
        'config show' \
        'config default' \
        'import' \
        'scenario' \
        'scenario list' \
        'scenario show' \
        'scenario compile' \
        'ipc' \
        'ipc ls' \
        'ipc clean' \
        'call' \
        'completion' \
        'version'
end

function __energyctl_takes
    string match -qr -- ' --run$' "$argv[1]"; and return
    contains -- "$argv[1]" \
        'up --for' \
        'up --speed' \
        'up --homes' \
        'up --seed' \
        'up --state' \
        'up --shards' \
        'up --report' \
        'simulate --for' \
        'simulate --homes' \
        'simulate --seed' \
        'simulate --shards' \
        'simulate --engine' \
        'simulate --address' \
        'simulate --workers' \
        'simulate --out' \
        'study --case' \
        'study --out' \
        'study --engine' \
        'study --address' \
        'study --workers' \
        'price --last' \
        'price --slot' \
        'top -w' \
        'top --interval' \
        'top -n' \
        'top --count' \
        'wait --timeout' \
        'homes --first' \
        'homes --count' \
        'event raise --intensity' \
        'event raise --for' \
        'ledger show --first' \
        'ledger show --count' \
        'ledger verify --state' \
        'ledger verify --compiled' \
        'ledger check --state' \
        'ledger check --compiled' \
        'ledger export --state' \
        'ledger export --compiled' \
        'ledger backup -o' \
        'ledger backup --out' \
        'ledger backup --state' \
        'ledger backup --compiled' \
        'ledger restore --state' \
        'meters list --directory' \
        'meters watch --directory' \
        'meters watch --every' \
        'meters watch --count' \
        'meters export --directory' \
        'meters plot --day' \
        'meters plot --out' \
        'meters plot --timezone' \
        'meters plot --directory' \
        'report --state' \
        'report --out' \
        'report --day' \
        'report --compiled' \
        'ask report --last' \
        'ask report --from' \
        'ask report --to' \
        'ask report --home' \
        'ask report --timeout' \
        'ask report --dispatcher' \
        'ask forecast --for' \
        'ask forecast --samples' \
        'ask forecast --seed' \
        'ask forecast --weather' \
        'ask forecast --timeout' \
        'ask forecast --dispatcher' \
        'reload --timeout' \
        'logs -u' \
        'logs --unit' \
        'logs --home' \
        'logs -n' \
        'logs --lines' \
        'check --price-warning' \
        'check --price-critical' \
        'check --late-warning' \
        'check --late-critical' \
        'check --missing-warning' \
        'check --missing-critical' \
        'check --restarts-warning' \
        'check --restarts-critical' \
        'explain price --state' \
        'explain price --ledger' \
        'explain price --compiled' \
        'explain trade --state' \
        'explain trade --ledger' \
        'explain trade --compiled' \
        'explain home --state' \
        'explain home --ledger' \
        'explain home --compiled' \
        'replay --state' \
        'replay --ledger' \
        'replay --compiled' \
        'kpi --home' \
        'kpi --state' \
        'kpi --compiled' \
        'bug-report -o' \
        'bug-report --out' \
        'bug-report -n' \
        'bug-report --lines' \
        'import -o' \
        'import --out' \
        'import --tz' \
        'import --unit' \
        'import --stamp' \
        'import --slot' \
        'import --time-column' \
        'import --home-column' \
        'import --load' \
        'import --pv' \
        'import --net' \
        'import --import' \
        'import --export' \
        'import --tariff-column' \
        'import --feed-in-column' \
        'import --carbon-column' \
        'import --exclude' \
        'import --time-format' \
        'import --delimiter' \
        'import --decimal' \
        'import --year' \
        'import --interpolate' \
        'import --limit-kw' \
        'import --latitude' \
        'import --longitude'
end

# The verb so far, how many arguments it has, and the run directory that is meant.
function __energyctl_line
    set -l words (commandline -opc)
    set -e words[1]
    set -l command ''
    set -l option ''
    set -l run ''
    set -l arguments 0
    for word in $words
        if test -n "$option"
            test "$option" = --run; and set run $word
            set option ''
            continue
        end
        switch $word
            case '--run=*'
                set run (string replace -- --run= '' $word)
            case '--*=*'
            case '-*'
                if __energyctl_takes "$command $word"
                    set option $word
                end
            case '*'
                set -l longer (string trim -- "$command $word")
                if __energyctl_is $longer
                    set command $longer
                else
                    set arguments (math $arguments + 1)
                end
        end
    end
    printf '%s\n' "$command" $arguments "$run"
end

function __energyctl_at
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]"
end

function __energyctl_argument
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]" -a $line[2] -eq $argv[2]
end

# The same for one that may be said again.
function __energyctl_argument_from
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]" -a $line[2] -ge $argv[2]
end

# The word under the cursor; of --option=value, the value.
function __energyctl_value
    string replace -r -- '^--[a-z-]+=' '' (commandline -ct)
end

# Asks energyctl for words that depend on what runs: bounded, and none if the market is down.
function __energyctl_ask_market
    set -l line (__energyctl_line)
    set -l run
    test -n "$line[3]"; and set run --run $line[3]
    set -l program (commandline -opc)[1]
    timeout 1 $program $run completion fish --words $argv[1] --prefix (__energyctl_value) 2>/dev/null
end

complete -c energyctl -f
complete -c energyctl -l json -d 'Answer in JSON: raw integers, units in the names'
complete -c energyctl -l run -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The run directory ($ENERGY_MARKET_RUN)'
complete -c energyctl -l help -d 'Show what it does and takes'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a up -d 'Run a market here'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a simulate -d 'Play a scenario without a clock'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a study -d 'Play a scenario with other parameters again and again'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a start -d 'Start the suite, or some of its units, and wait until all serve'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a status -d 'Show how the market is'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a price -d 'Show the price in €/kWh, now, of the last slots, or term by term'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a watch -d 'Follow the market'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a top -d 'Watch the suite at work'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a wait -d 'Wait until something holds'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a workers -d 'Show the dispatcher and its workers'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a homes -d 'Show homes'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a weather -d 'Show the weather of the open slot'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a event -d 'List, raise and clear external events'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a ledger -d 'Show, verify, check, export, back up and restore the ledger'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a meters -d 'Meters and PV over RabbitMQ'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a report -d 'Report on a run'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a ask -d 'Ask a worker for a report or a forecast'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a stop -d 'Stop the market'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a restart -d 'Stop all of it, check the configuration again, and start'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a reload -d 'Let the market read its coefficients again'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a reset -d 'Let units that have given up try again'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a home -d 'Start and stop a single home as a unit'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a logs -d 'Show the journal of the suite\'s units'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a doctor -d 'Look at everything that the suite needs'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a check -d 'Print one line for a monitoring system, with its own exit codes'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a metrics -d 'Print metrics in Prometheus\' text format'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a explain -d 'Explain a price, a trade or a home from the ledger'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a replay -d 'Settle a recorded run once more from what came to it from outside, and compare the hashes'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a kpi -d 'Show indicators'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a bug-report -d 'Collect versions, states, journal, configuration and findings in one file, without secrets'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a install-units -d 'Write the suite\'s units for your own service manager'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a uninstall-units -d 'Stop the suite of your own service manager and take its units away'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a config -d 'Check and print scenario files'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a import -d 'Make a scenario of measured homes'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a scenario -d 'List, show and compile scenarios'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a ipc -d 'List the kernel\'s IPC objects of a run, or remove leftovers'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a call -d 'Call a method of the market\'s control socket, with raw JSON'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a completion -d 'Print the completion for a shell'
complete -c energyctl -n '__energyctl_argument \'\' 0' -a version -d 'Show the versions of energyctl, Python, and the running market'

complete -c energyctl -n '__energyctl_at \'up\'' -l for -x -d 'End after so much market time, or so many slots'
complete -c energyctl -n '__energyctl_at \'up\'' -l speed -x -d 'Market seconds per second'
complete -c energyctl -n '__energyctl_at \'up\'' -l homes -x -d 'So many homes in the scenario\'s groups'
complete -c energyctl -n '__energyctl_at \'up\'' -l seed -x -d 'Another seed of all chance'
complete -c energyctl -n '__energyctl_at \'up\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Ledger and registers (default: below $XDG_STATE_HOME)'
complete -c energyctl -n '__energyctl_at \'up\'' -l fresh -d 'Begin with an empty state'
complete -c energyctl -n '__energyctl_at \'up\'' -l shards -x -d 'Processes of the home pool'
complete -c energyctl -n '__energyctl_at \'up\'' -l lockstep -d 'Without a clock, as fast as it goes: the ledger is that of simulate'
complete -c energyctl -n '__energyctl_at \'up\'' -l report -x -a '(__fish_complete_directories (__energyctl_value))' -d 'At the end, write report and CSV here'
complete -c energyctl -n '__energyctl_at \'up\'' -l detach -d 'Return when all is ready'
complete -c energyctl -n '__energyctl_argument \'up\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'

complete -c energyctl -n '__energyctl_at \'simulate\'' -l for -x -d 'So much market time, or so many slots'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l homes -x -d 'So many homes in the scenario\'s groups'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l seed -x -d 'Another seed of all chance'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l shards -x -d 'Ranges that the homes are cut into'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l engine -x -d 'One process, the cores (default), or actors of Ray'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l address -x -d 'Head of the Ray cluster to play on (engine ray'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l workers -x -d 'Processes on this machine (default: cores)'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l out -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where the results go (default: below $XDG_STATE_HOME)'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l compare -d 'Tell each home\'s bill under every sharing rule, side by side'
complete -c energyctl -n '__energyctl_at \'simulate\'' -l resume -d 'Go on from the last checkpoint of an unfinished run'
complete -c energyctl -n '__energyctl_argument \'simulate\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'

complete -c energyctl -n '__energyctl_at \'study\'' -l list -d 'Name the shipped studies'
complete -c energyctl -n '__energyctl_at \'study\'' -l show -d 'Print the study\'s file: to begin one of your own'
complete -c energyctl -n '__energyctl_at \'study\'' -l dry-run -d 'Print the cases, play none'
complete -c energyctl -n '__energyctl_at \'study\'' -l case -x -d 'Print the scenario of a case, play none'
complete -c energyctl -n '__energyctl_at \'study\'' -l out -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where the results go (default: below $XDG_STATE_HOME)'
complete -c energyctl -n '__energyctl_at \'study\'' -l engine -x -d 'On the cores of this machine, or over Ray'
complete -c energyctl -n '__energyctl_at \'study\'' -l address -x -d 'Of a Ray cluster that runs'
complete -c energyctl -n '__energyctl_at \'study\'' -l workers -x -d 'Cases that are played at a time (default: cores)'
complete -c energyctl -n '__energyctl_at \'study\'' -l csv -d 'Write the table as CSV, too'
complete -c energyctl -n '__energyctl_at \'study\'' -l keep -d 'Keep the ledger of every case: for reports and checks'
complete -c energyctl -n '__energyctl_at \'study\'' -l resume -d 'Play the cases that are missing or have failed'
complete -c energyctl -n '__energyctl_at \'study\'' -l anew -d 'Remove the study that lies there, and begin anew'

complete -c energyctl -n '__energyctl_at \'start\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_argument_from \'start\' 0' -a '(__energyctl_ask_market units)'

complete -c energyctl -n '__energyctl_at \'status\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_at \'price\'' -l last -x -d 'The last N slots, one per line'
complete -c energyctl -n '__energyctl_at \'price\'' -l explain -d 'Term by term: inertia, factors, events'
complete -c energyctl -n '__energyctl_at \'price\'' -l slot -x -d 'With --explain: this slot, not the open one'


complete -c energyctl -n '__energyctl_at \'top\'' -s w -l interval -x -d 'Refresh so often'
complete -c energyctl -n '__energyctl_at \'top\'' -s n -l count -x -d 'End after so many refreshes'
complete -c energyctl -n '__energyctl_at \'top\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_at \'wait\'' -l timeout -x -d 'Give up after so many seconds'


complete -c energyctl -n '__energyctl_at \'homes\'' -l first -x -a '(__energyctl_ask_market homes)' -d 'Begin with this home'
complete -c energyctl -n '__energyctl_at \'homes\'' -l count -x -d 'At most so many homes'
complete -c energyctl -n '__energyctl_argument \'homes\' 0' -a '(__energyctl_ask_market homes)'


complete -c energyctl -n '__energyctl_argument \'event\' 0' -a list -d 'Show the active events, and the kinds that this scenario has'
complete -c energyctl -n '__energyctl_argument \'event\' 0' -a raise -d 'Raise an event from the next slot on, until it is cleared or for a time'
complete -c energyctl -n '__energyctl_argument \'event\' 0' -a clear -d 'Clear the active events of a kind from the next slot on'


complete -c energyctl -n '__energyctl_at \'event raise\'' -l intensity -x -d 'Times the event as the scenario has it'
complete -c energyctl -n '__energyctl_at \'event raise\'' -l for -x -d 'How long: slots, or market time'
complete -c energyctl -n '__energyctl_argument \'event raise\' 0' -a '(__energyctl_ask_market kinds)'

complete -c energyctl -n '__energyctl_argument \'event clear\' 0' -a '(__energyctl_ask_market active-kinds)'

complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a show -d 'Show one slot of the ledger, row by row'
complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a verify -d 'Recompute the hash chain and the sums'
complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a check -d 'Hold registers, ledger and physics together (the independent checker)'
complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a export -d 'Write prices.csv and homes.csv'
complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a backup -d 'Back up ledger, registers, scenario and configuration of one moment into one file, while all runs'
complete -c energyctl -n '__energyctl_argument \'ledger\' 0' -a restore -d 'Put a backup in the place of the state, once all of it is verified'

complete -c energyctl -n '__energyctl_at \'ledger show\'' -l first -x -a '(__energyctl_ask_market homes)' -d 'Begin with this home'
complete -c energyctl -n '__energyctl_at \'ledger show\'' -l count -x -d 'At most so many homes'

complete -c energyctl -n '__energyctl_at \'ledger verify\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'ledger verify\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario of that state'

complete -c energyctl -n '__energyctl_at \'ledger check\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'ledger check\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario of that state'

complete -c energyctl -n '__energyctl_at \'ledger export\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'ledger export\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario of that state'
complete -c energyctl -n '__energyctl_argument \'ledger export\' 0' -a '(__fish_complete_directories (__energyctl_value))'

complete -c energyctl -n '__energyctl_at \'ledger backup\'' -s o -l out -r -F -d 'Where the backup goes (default: here)'
complete -c energyctl -n '__energyctl_at \'ledger backup\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Of this state directory, not of the suite or the run'
complete -c energyctl -n '__energyctl_at \'ledger backup\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario of that state'

complete -c energyctl -n '__energyctl_at \'ledger restore\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Of this state directory, not of the suite or the run'
complete -c energyctl -n '__energyctl_at \'ledger restore\'' -l force -d 'Also back in time, or to another version'
complete -c energyctl -n '__energyctl_argument \'ledger restore\' 0' -F

complete -c energyctl -n '__energyctl_argument \'meters\' 0' -a list -d 'List meters'
complete -c energyctl -n '__energyctl_argument \'meters\' 0' -a watch -d 'Watch a live line per meter, until Ctrl-C'
complete -c energyctl -n '__energyctl_argument \'meters\' 0' -a export -d 'Export all rows as one Parquet file, in order of meter and time'
complete -c energyctl -n '__energyctl_argument \'meters\' 0' -a plot -d 'Draw a meter\'s day'

complete -c energyctl -n '__energyctl_at \'meters list\'' -l directory -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where PV services write (default: here, or what runs)'

complete -c energyctl -n '__energyctl_at \'meters watch\'' -l directory -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where PV services write (default: here, or what runs)'
complete -c energyctl -n '__energyctl_at \'meters watch\'' -l every -x -d 'Seconds between two looks'
complete -c energyctl -n '__energyctl_at \'meters watch\'' -l count -x -d 'So many looks, then end'

complete -c energyctl -n '__energyctl_at \'meters export\'' -l directory -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where PV services write (default: here, or what runs)'
complete -c energyctl -n '__energyctl_argument \'meters export\' 0' -F

complete -c energyctl -n '__energyctl_at \'meters plot\'' -l day -x -d 'The day (default: its last)'
complete -c energyctl -n '__energyctl_at \'meters plot\'' -l out -r -F -d 'The picture, .png or .svg (default: ID-DAY.png)'
complete -c energyctl -n '__energyctl_at \'meters plot\'' -l timezone -x -d 'Of the meter\'s clock (default: the machine\'s)'
complete -c energyctl -n '__energyctl_at \'meters plot\'' -l directory -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where PV services write (default: here, or what runs)'

complete -c energyctl -n '__energyctl_at \'report\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, or what a simulation has written'
complete -c energyctl -n '__energyctl_at \'report\'' -l html -d 'Pictures of the whole run on one page, report.html'
complete -c energyctl -n '__energyctl_at \'report\'' -l out -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where the files go'
complete -c energyctl -n '__energyctl_at \'report\'' -l day -x -d 'A day whose flows the page shows first'
complete -c energyctl -n '__energyctl_at \'report\'' -l no-check -d 'Believe the ledger'
complete -c energyctl -n '__energyctl_at \'report\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario'

complete -c energyctl -n '__energyctl_argument \'ask\' 0' -a report -d 'Report on a period of the live ledger'
complete -c energyctl -n '__energyctl_argument \'ask\' 0' -a forecast -d 'Forecast price and net load of the next day, each with a band of P10 to P90'

complete -c energyctl -n '__energyctl_at \'ask report\'' -l last -x -d 'The last slots: market time, or a number'
complete -c energyctl -n '__energyctl_at \'ask report\'' -l from -x -d 'From this day, time or slot on'
complete -c energyctl -n '__energyctl_at \'ask report\'' -l to -x -d 'Until then'
complete -c energyctl -n '__energyctl_at \'ask report\'' -l home -x -a '(__energyctl_ask_market homes)' -d 'Of this home only'
complete -c energyctl -n '__energyctl_at \'ask report\'' -l timeout -x -d 'Wait at most so long for the answer'
complete -c energyctl -n '__energyctl_at \'ask report\'' -l dispatcher -x -d 'The dispatcher, where it is not found'

complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l for -x -d 'How far: market time, or slots'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l samples -x -d 'So many are played: 100'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l seed -x -d 'Of the samples\' chance: 0'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l weather -x -d 'Part of the climate\'s spread that is unknown: 0.7'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l no-events -d 'No further events begin'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l no-homes -d 'Households do by chance what the scenario\'s seed says'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l timeout -x -d 'Wait at most so long for the answer'
complete -c energyctl -n '__energyctl_at \'ask forecast\'' -l dispatcher -x -d 'The dispatcher, where it is not found'

complete -c energyctl -n '__energyctl_at \'stop\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_argument_from \'stop\' 0' -a '(__energyctl_ask_market units)'

complete -c energyctl -n '__energyctl_at \'restart\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_argument_from \'restart\' 0' -a '(__energyctl_ask_market units)'

complete -c energyctl -n '__energyctl_at \'reload\'' -l wait -d 'Return when the first slot has opened at the new coefficients'
complete -c energyctl -n '__energyctl_at \'reload\'' -l timeout -x -d 'With --wait: not longer than so'
complete -c energyctl -n '__energyctl_at \'reload\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_at \'reset\'' -l state -d 'Set ledger and registers aside, so that a new ledger begins'
complete -c energyctl -n '__energyctl_at \'reset\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_argument \'home\' 0' -a start -d 'Start a home as a process of its own'
complete -c energyctl -n '__energyctl_argument \'home\' 0' -a stop -d 'Stop a home that is a process of its own'

complete -c energyctl -n '__energyctl_at \'home start\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_argument \'home start\' 0' -a '(__energyctl_ask_market singles)'

complete -c energyctl -n '__energyctl_at \'home stop\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_argument \'home stop\' 0' -a '(__energyctl_ask_market singles)'

complete -c energyctl -n '__energyctl_at \'logs\'' -s u -l unit -x -a '(__energyctl_ask_market units)' -d 'Only this unit, for example energy-market'
complete -c energyctl -n '__energyctl_at \'logs\'' -l home -x -a '(__energyctl_ask_market homes)' -d 'Only what concerns this home'
complete -c energyctl -n '__energyctl_at \'logs\'' -s n -l lines -x -d 'The last so many lines'
complete -c energyctl -n '__energyctl_at \'logs\'' -s f -l follow -d 'Go on as lines come, until Ctrl-C'
complete -c energyctl -n '__energyctl_at \'logs\'' -s x -l explain -d 'With the catalog\'s explanations: what it means, and what to do'
complete -c energyctl -n '__energyctl_at \'logs\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_at \'doctor\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_at \'check\'' -l price-warning -x -d 'Fine prices in €/kWh, for example 0.05:0.35'
complete -c energyctl -n '__energyctl_at \'check\'' -l price-critical -x -d 'Beyond these, CRITICAL'
complete -c energyctl -n '__energyctl_at \'check\'' -l late-warning -x -d 'Seconds that a slot may be late'
complete -c energyctl -n '__energyctl_at \'check\'' -l late-critical -x -d 'Beyond these, CRITICAL'
complete -c energyctl -n '__energyctl_at \'check\'' -l missing-warning -x -d 'Homes that may be missing'
complete -c energyctl -n '__energyctl_at \'check\'' -l missing-critical -x -d 'Beyond these, CRITICAL'
complete -c energyctl -n '__energyctl_at \'check\'' -l restarts-warning -x -d 'Restarts of any unit since its last start by hand'
complete -c energyctl -n '__energyctl_at \'check\'' -l restarts-critical -x -d 'Beyond these, CRITICAL'
complete -c energyctl -n '__energyctl_at \'check\'' -l stale-critical -d 'Stale weather is CRITICAL, not WARNING'


complete -c energyctl -n '__energyctl_argument \'explain\' 0' -a price -d 'Why a slot had its price'
complete -c energyctl -n '__energyctl_argument \'explain\' 0' -a trade -d 'What became of an order or a batch'
complete -c energyctl -n '__energyctl_argument \'explain\' 0' -a home -d 'What a home metered, gave, got, sold and bought in a slot, the money of each part, and why'

complete -c energyctl -n '__energyctl_at \'explain price\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'explain price\'' -l ledger -r -F -d 'A ledger.db, or a backup (.tar)'
complete -c energyctl -n '__energyctl_at \'explain price\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario: local times, names, policies'

complete -c energyctl -n '__energyctl_at \'explain trade\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'explain trade\'' -l ledger -r -F -d 'A ledger.db, or a backup (.tar)'
complete -c energyctl -n '__energyctl_at \'explain trade\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario: local times, names, policies'

complete -c energyctl -n '__energyctl_at \'explain home\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'explain home\'' -l ledger -r -F -d 'A ledger.db, or a backup (.tar)'
complete -c energyctl -n '__energyctl_at \'explain home\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario: local times, names, policies'
complete -c energyctl -n '__energyctl_argument \'explain home\' 0' -a '(__energyctl_ask_market homes)'

complete -c energyctl -n '__energyctl_at \'replay\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, or a copy of one'
complete -c energyctl -n '__energyctl_at \'replay\'' -l ledger -r -F -d 'A ledger.db, or a backup (.tar)'
complete -c energyctl -n '__energyctl_at \'replay\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario of that ledger'
complete -c energyctl -n '__energyctl_at \'replay\'' -l ledger-only -d 'Only the ledger: do not live through the homes\' physics'

complete -c energyctl -n '__energyctl_at \'kpi\'' -l home -x -a '(__energyctl_ask_market homes)' -d 'Of this home only'
complete -c energyctl -n '__energyctl_at \'kpi\'' -l state -x -a '(__fish_complete_directories (__energyctl_value))' -d 'A state directory, for a market that does not run'
complete -c energyctl -n '__energyctl_at \'kpi\'' -l compiled -x -a '(__fish_complete_directories (__energyctl_value))' -d 'The compiled scenario, where it is not found'

complete -c energyctl -n '__energyctl_at \'bug-report\'' -s o -l out -r -F -d 'Where it goes: a new .tar.gz'
complete -c energyctl -n '__energyctl_at \'bug-report\'' -s n -l lines -x -d 'So many lines of the journal'

complete -c energyctl -n '__energyctl_at \'install-units\'' -l user -d 'The units of your own service manager, not the system\'s'
complete -c energyctl -n '__energyctl_at \'install-units\'' -l enable -d 'Start it with every login'
complete -c energyctl -n '__energyctl_at \'install-units\'' -l print -d 'Print the units and write nothing'

complete -c energyctl -n '__energyctl_at \'uninstall-units\'' -l user -d 'The units of your own service manager, not the system\'s'

complete -c energyctl -n '__energyctl_argument \'config\' 0' -a check -d 'Check a file'
complete -c energyctl -n '__energyctl_argument \'config\' 0' -a show -d 'Print a file with every default written out, as the daemons will see it'
complete -c energyctl -n '__energyctl_argument \'config\' 0' -a default -d 'Print the default configuration, every key with its meaning'

complete -c energyctl -n '__energyctl_argument \'config check\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'

complete -c energyctl -n '__energyctl_argument \'config show\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'


complete -c energyctl -n '__energyctl_at \'import\'' -s o -l out -x -a '(__fish_complete_directories (__energyctl_value))' -d 'Where the result goes (default: named as FILE)'
complete -c energyctl -n '__energyctl_at \'import\'' -l force -d 'Replace an earlier result'
complete -c energyctl -n '__energyctl_at \'import\'' -l strict -d 'Refuse a file with faults (exit 5) instead of repairing it'
complete -c energyctl -n '__energyctl_at \'import\'' -l tz -x -d 'Clock of the times: Europe/Berlin, UTC, or +01:00 (no summer time)'
complete -c energyctl -n '__energyctl_at \'import\'' -l unit -x -d 'Where names of columns do not say it'
complete -c energyctl -n '__energyctl_at \'import\'' -l registers -d 'Values are cumulative counters, to be differenced'
complete -c energyctl -n '__energyctl_at \'import\'' -l stamp -x -d 'Which end of its interval a time is (begin)'
complete -c energyctl -n '__energyctl_at \'import\'' -l slot -x -d 'Slots of the scenario, as 15min (default: the data\'s)'
complete -c energyctl -n '__energyctl_at \'import\'' -l time-column -x -d 'Column of times, or DATE+TIME'
complete -c energyctl -n '__energyctl_at \'import\'' -l home-column -x -d 'Column of homes, one line per home and time'
complete -c energyctl -n '__energyctl_at \'import\'' -l load -x -d 'Name, or pattern with {home}, of the columns of load'
complete -c energyctl -n '__energyctl_at \'import\'' -l pv -x -d 'Name, or pattern with {home}, of the columns of generation'
complete -c energyctl -n '__energyctl_at \'import\'' -l net -x -d 'Name, or pattern with {home}, of the columns of load minus generation'
complete -c energyctl -n '__energyctl_at \'import\'' -l import -x -d 'Name, or pattern with {home}, of the columns of import from the grid'
complete -c energyctl -n '__energyctl_at \'import\'' -l export -x -d 'Name, or pattern with {home}, of the columns of export to the grid'
complete -c energyctl -n '__energyctl_at \'import\'' -l tariff-column -x -d 'Column of import prices per kWh'
complete -c energyctl -n '__energyctl_at \'import\'' -l feed-in-column -x -d 'Column of export prices per kWh'
complete -c energyctl -n '__energyctl_at \'import\'' -l carbon-column -x -d 'Column of carbon intensity per kWh'
complete -c energyctl -n '__energyctl_at \'import\'' -l exclude -x -d 'Homes to leave out, by their names'
complete -c energyctl -n '__energyctl_at \'import\'' -l time-format -x -d 'Of strptime, as \'%d/%m/%Y %H:%M\''
complete -c energyctl -n '__energyctl_at \'import\'' -l delimiter -x -d 'What parts the columns (default: looked at)'
complete -c energyctl -n '__energyctl_at \'import\'' -l decimal -x -d 'The decimal mark (default: looked at)'
complete -c energyctl -n '__energyctl_at \'import\'' -l year -x -d 'Of a file of hours without dates'
complete -c energyctl -n '__energyctl_at \'import\'' -l interpolate -x -d 'Gaps up to this are bridged by a line (1h)'
complete -c energyctl -n '__energyctl_at \'import\'' -l limit-kw -x -d 'More power than this is a spike (43.5)'
complete -c energyctl -n '__energyctl_at \'import\'' -l latitude -x -d 'Of the homes (default: Mannheim)'
complete -c energyctl -n '__energyctl_at \'import\'' -l longitude -x -d 'Of the homes'
complete -c energyctl -n '__energyctl_argument \'import\' 0' -F

complete -c energyctl -n '__energyctl_argument \'scenario\' 0' -a list -d 'Show the scenarios that come with the program'
complete -c energyctl -n '__energyctl_argument \'scenario\' 0' -a show -d 'Print a scenario with every default written out'
complete -c energyctl -n '__energyctl_argument \'scenario\' 0' -a compile -d 'Compile a scenario into arrays'


complete -c energyctl -n '__energyctl_argument \'scenario show\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'

complete -c energyctl -n '__energyctl_argument \'scenario compile\' 0' -F -a 'classic default metered pencil-classic pencil-full-queue pencil-gift pencil-imbalance pencil-late pencil-phantom-claim pencil-policy3-alone pencil-policy3-part pencil-rule-mid-market pencil-rule-need-first pencil-rule-static-key pencil-sharing-exact-fair pencil-sharing-exact-selfish pencil-sharing-greedy-mean-fair pencil-sharing-greedy-mean-selfish pencil-sharing-greedy-neutral-fair pencil-sharing-greedy-neutral-selfish pencil-stale-weather pencil-trade'

complete -c energyctl -n '__energyctl_argument \'ipc\' 0' -a ls -d 'Show queue, semaphores and shared memory of the run directory, and whether they are there'
complete -c energyctl -n '__energyctl_argument \'ipc\' 0' -a clean -d 'Remove what a crash has left'



complete -c energyctl -n '__energyctl_at \'call\'' -l more -d 'Take replies as long as they come'
complete -c energyctl -n '__energyctl_argument \'call\' 0' -a 'Status Price Explain Homes Weather Events Raise Clear Ledger Orders Slots Compacted Present Verify Resources Reload Stop Watch'

complete -c energyctl -n '__energyctl_argument \'completion\' 0' -a 'bash zsh fish'
