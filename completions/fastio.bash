# Completion for fastio 0.1.0. Made by "make generate"; do not edit.

# What follows option $2 of command $1: sets kind and words; fails if nothing does.
_fastio_value() {
    case "$1 $2" in
        *" --workspace" | \
            *" -w" | \
            *" --in-workspace")
            kind='workspace' ;;
        *" --store")
            kind='folder' ;;
        *" --profile")
            kind='profile' ;;
        *" --format")
            kind=words words='table json jsonl markdown raw' ;;
        *" --fields" | \
            *" --actor" | \
            *" --idempotency-key" | \
            *" --limit" | \
            *" --cursor" | \
            *" --at" | \
            *" --query" | \
            *" --version" | \
            *" --schema" | \
            *" --if-version" | \
            *" --lock-token" | \
            *" --by" | \
            *" --timeout" | \
            *" --from" | \
            "state diff --to" | \
            "file diff --to" | \
            *" --media-type" | \
            *" --offset" | \
            *" --length" | \
            "event list --type" | \
            "event watch --type" | \
            *" --ttl" | \
            "lock acquire --wait" | \
            "lock run --wait" | \
            "import show --wait" | \
            *" --purpose" | \
            *" --reason" | \
            *" --after" | \
            "event list --path" | \
            "event watch --path" | \
            "query --path" | \
            "ask --path" | \
            "context --path" | \
            *" --count" | \
            *" --head-seq" | \
            *" --head-hash" | \
            *" --name" | \
            *" --expires" | \
            *" --scope" | \
            *" --label" | \
            *" --sha256" | \
            *" --max-size" | \
            *" --kind" | \
            *" --source-blobs" | \
            *" --target-blobs" | \
            *" --since" | \
            *" --session" | \
            *" --model" | \
            *" --endpoint" | \
            *" --budget" | \
            *" --summary" | \
            *" --host" | \
            *" --port" | \
            *" --workers" | \
            *" --token")
            kind='nothing' ;;
        "import add --to" | \
            "import list --path")
            kind='path' ;;
        *" --output" | \
            *" -o" | \
            *" --from-file" | \
            *" --header-file" | \
            *" --tls-certificate" | \
            *" --tls-key" | \
            *" --ca-file")
            kind='file' ;;
        "file list --type")
            kind=words words='state file' ;;
        "query --type" | \
            "ask --type" | \
            "context --type")
            kind=words words='file state' ;;
        *" --role")
            kind=words words='viewer editor admin owner' ;;
        *" --on-conflict")
            kind=words words='version rename fail' ;;
        *" --state")
            kind=words words='queued running done failed cancelled' ;;
        *" --mode")
            kind=words words='hybrid semantic lexical' ;;
        *) return 1 ;;
    esac
}

# What command $1 takes after $2 arguments: sets kind and words.
_fastio_argument() {
    case "$1 $2" in
        "workspace create 0" | \
            "workspace show 0" | \
            "workspace usage 0" | \
            "workspace rename 0" | \
            "workspace delete 0" | \
            "workspace restore 0" | \
            "use 0")
            kind='workspace' ;;
        "workspace rename 1" | \
            "workspace intelligence 0" | \
            "state set 1" | \
            "state init 1" | \
            "state patch 1" | \
            "state append 1" | \
            "state transact 0" | \
            "state wait 1" | \
            "state list 0" | \
            "file append 1" | \
            "file list 0" | \
            "lock list 0" | \
            "org create 0" | \
            "org transfer 0" | \
            "org transfer 1" | \
            "member set 0" | \
            "member set 1" | \
            "member remove 0" | \
            "token create 0" | \
            "token revoke 0" | \
            "import add 0" | \
            "import show 0" | \
            "import cancel 0" | \
            "import retry 0" | \
            "import login 0" | \
            "import logout 0" | \
            "job show 0" | \
            "job retry 0" | \
            "job cancel 0" | \
            "store copy 0" | \
            "store copy 1" | \
            "config set 1" | \
            "query 0" | \
            "ask 0" | \
            "context 0" | \
            "login 0")
            kind='nothing' ;;
        "state get 0" | \
            "state set 0" | \
            "state init 0" | \
            "state patch 0" | \
            "state append 0" | \
            "state increment 0" | \
            "state wait 0" | \
            "state schema 0" | \
            "state edit 0" | \
            "state history 0" | \
            "state diff 0" | \
            "state restore 0" | \
            "state delete 0" | \
            "file put 1" | \
            "file append 0" | \
            "file get 0" | \
            "file info 0" | \
            "file move 0" | \
            "file move 1" | \
            "file copy 0" | \
            "file copy 1" | \
            "file history 0" | \
            "file diff 0" | \
            "file restore 0" | \
            "file delete 0" | \
            "lock acquire 0" | \
            "lock renew 0" | \
            "lock release 0" | \
            "lock show 0" | \
            "lock break 0" | \
            "lock run 0")
            kind='path' ;;
        "file put 0" | \
            "backup 0" | \
            "restore 0")
            kind='file' ;;
        "lock run 1")
            kind='command' ;;
        "profile use 0" | \
            "profile remove 0" | \
            "logout 0")
            kind='profile' ;;
        "config show 0" | \
            "config set 0" | \
            "config unset 0")
            kind=words words='store profile blobs workspace actor format durability file_bytes_max storage_bytes_max metered credits_per_month org_bytes_max rate_per_s retry_s ca_file versions_max embedding_url embedding_model chat_url chat_model egress_allow egress_ports egress_ca_file import_parallel import_attempts_max import_retry_ms import_timeout_s import_stall_s import_buckets import_endpoints secret_key_file google_client_id google_client_secret onedrive_client_id onedrive_client_secret dropbox_client_id dropbox_client_secret box_client_id box_client_secret' ;;
        "lock run "*)
            kind='file' ;;
        "import add "*)
            kind='nothing' ;;
        *) kind=options ;;
    esac
}

# The words that may come next after $1: sets words; fails if $1 is a whole command.
_fastio_verbs() {
    case "$1" in
        '') words='workspace state file lock event audit org member token index import job store profile config init use query ask context batch serve login logout whoami backup restore doctor demo help' ;;
        'workspace') words='create list show usage rename delete restore intelligence' ;;
        'state') words='get set init patch append increment transact wait list schema edit history diff restore delete' ;;
        'file') words='put append get list info move copy history diff restore delete' ;;
        'lock') words='acquire renew release show list break run' ;;
        'event') words='list watch' ;;
        'audit') words='verify' ;;
        'org') words='create show usage transfer' ;;
        'member') words='list set remove' ;;
        'token') words='create list revoke' ;;
        'index') words='status rebuild clear' ;;
        'import') words='add list show cancel retry login logout accounts' ;;
        'job') words='list show retry cancel' ;;
        'store') words='copy' ;;
        'profile') words='list use remove' ;;
        'config') words='show set unset' ;;
        *) return 1 ;;
    esac
}

# The options of command $1: sets words.
_fastio_options() {
    words='--workspace -w --store --profile --format --json --fields --quiet -q --actor --help'
    case "$1" in
        'workspace create') words="--idempotency-key $words" ;;
        'workspace list') words="--deleted --limit --cursor $words" ;;
        'workspace rename') words="--idempotency-key $words" ;;
        'workspace delete') words="--yes -y --dry-run -n --idempotency-key $words" ;;
        'workspace restore') words="--idempotency-key $words" ;;
        'state get') words="--at --query --version $words" ;;
        'state set') words="--at --schema --if-version --lock-token --idempotency-key $words" ;;
        'state init') words="--schema --lock-token --idempotency-key $words" ;;
        'state patch') words="--json-patch --if-version --lock-token --idempotency-key $words" ;;
        'state append') words="--at --if-version --lock-token --idempotency-key $words" ;;
        'state increment') words="--at --by --if-version --lock-token --idempotency-key $words" ;;
        'state transact') words="--idempotency-key $words" ;;
        'state wait') words="--timeout $words" ;;
        'state list') words="--limit --cursor $words" ;;
        'state edit') words="--lock-token $words" ;;
        'state history') words="--limit --cursor $words" ;;
        'state diff') words="--from --to $words" ;;
        'state restore') words="--version --if-version --lock-token --idempotency-key $words" ;;
        'state delete') words="--if-version --lock-token --idempotency-key $words" ;;
        'file put') words="--recursive -r --dry-run -n --media-type --if-version --lock-token --idempotency-key $words" ;;
        'file append') words="--if-version --lock-token --idempotency-key $words" ;;
        'file get') words="--output -o --version --offset --length $words" ;;
        'file list') words="--type --limit --cursor $words" ;;
        'file move') words="--overwrite --if-version --lock-token --idempotency-key $words" ;;
        'file copy') words="--overwrite --idempotency-key $words" ;;
        'file history') words="--limit --cursor $words" ;;
        'file diff') words="--from --to $words" ;;
        'file restore') words="--version --if-version --lock-token --idempotency-key $words" ;;
        'file delete') words="--if-version --lock-token --idempotency-key $words" ;;
        'lock acquire') words="--ttl --wait --purpose --idempotency-key $words" ;;
        'lock renew') words="--ttl --lock-token --idempotency-key $words" ;;
        'lock release') words="--lock-token --idempotency-key $words" ;;
        'lock list') words="--limit --cursor $words" ;;
        'lock break') words="--reason --idempotency-key $words" ;;
        'lock run') words="--ttl --wait --purpose $words" ;;
        'event list') words="--after --type --path --limit $words" ;;
        'event watch') words="--after --type --path --count --timeout $words" ;;
        'audit verify') words="--head-seq --head-hash $words" ;;
        'org create') words="--idempotency-key $words" ;;
        'org transfer') words="--name --expires --limit --cursor --idempotency-key $words" ;;
        'member list') words="--limit --cursor $words" ;;
        'member set') words="--in-workspace --idempotency-key $words" ;;
        'member remove') words="--in-workspace --idempotency-key $words" ;;
        'token create') words="--role --scope --in-workspace --expires --label --idempotency-key $words" ;;
        'token list') words="--limit --cursor $words" ;;
        'token revoke') words="--idempotency-key $words" ;;
        'index rebuild') words="--wait $words" ;;
        'import add') words="--to --name --from-file --sha256 --header-file --on-conflict --max-size --wait --timeout --lock-token --idempotency-key $words" ;;
        'import list') words="--state --path --limit --cursor $words" ;;
        'import show') words="--wait $words" ;;
        'import cancel') words="--idempotency-key $words" ;;
        'import retry') words="--header-file --wait --timeout --lock-token --idempotency-key $words" ;;
        'import login') words="--device $words" ;;
        'job list') words="--state --kind --limit --cursor $words" ;;
        'job retry') words="--idempotency-key $words" ;;
        'job cancel') words="--idempotency-key $words" ;;
        'store copy') words="--source-blobs --target-blobs --progress $words" ;;
        'config set') words="--project $words" ;;
        'config unset') words="--project $words" ;;
        'use') words="--create $words" ;;
        'query') words="--path --type --since --limit --mode --all-workspaces --explain --wait $words" ;;
        'ask') words="--path --type --since --session --model --endpoint --wait $words" ;;
        'context') words="--budget --summary --path --type --since --wait $words" ;;
        'batch') words="--stop $words" ;;
        'serve') words="--host --port --workers --tls-certificate --tls-key --behind-proxy --no-access-log $words" ;;
        'login') words="--token --ca-file $words" ;;
        'backup') words="--overwrite $words" ;;
        'restore') words="--yes -y $words" ;;
        'doctor') words="--sweep $words" ;;
    esac
}

# The words before the cursor, those that bash split at : = and @ made whole again: sets line.
_fastio_line() {
    local i word rest=${COMP_LINE#"${COMP_WORDS[0]}"}
    line=()
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ${#line[@]} -gt 0 && -n $rest && $rest != [[:space:]]* ]]; then
            line[${#line[@]} - 1]+=$word
        else
            line+=("$word")
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
}

_fastio_offer() {
    local candidate hidden='' IFS=$'\n'
    # Readline replaces only what stands after the last of its word breaks.
    [[ $whole == *[:=]* ]] && hidden=${whole%"${whole##*[:=]}"}
    hidden=${hidden#"$prefix"}
    while read -r candidate; do
        [[ -n $candidate ]] && COMPREPLY+=("${candidate#"$hidden"}")
    done
}

_fastio() {
    local word command='' option='' plain='' kind='' words='' whole current prefix='' position=0
    local -a line context=()
    COMPREPLY=()
    _fastio_line
    whole=${line[${#line[@]} - 1]}
    unset "line[${#line[@]} - 1]"
    for word in ${line[@]+"${line[@]}"}; do
        if [[ -n $option ]]; then
            case "$option" in
                --workspace | -w | --store | --profile) context+=("$option" "$word") ;;
            esac
            option=''
        elif [[ -z $plain && $word == -- ]]; then
            plain=yes
        elif [[ -z $plain && $word == --*=* ]]; then
            case "$word" in --workspace=* | --store=* | --profile=*) context+=("$word") ;; esac
        elif [[ -z $plain && $word == -?* ]]; then
            _fastio_value "$command" "$word" && option=$word
        elif [[ -z $command ]]; then
            [[ $word == help ]] || command=$word
        elif _fastio_verbs "$command"; then
            command="$command $word"
        else
            position=$((position + 1))
        fi
    done
    whole=${whole#[\'\"]}
    current=$whole
    if [[ -z $plain && -z $option && $current == --*=* ]]; then
        option=${current%%=*}
        prefix="$option="
        current=${current#*=}
    fi
    if [[ -n $option ]]; then
        _fastio_value "$command" "$option" || return
    elif [[ -z $plain && $current == -* ]]; then
        kind=options
    elif _fastio_verbs "$command"; then
        kind=words
    else
        _fastio_argument "$command" "$position"
    fi
    [[ $kind == options ]] && _fastio_options "$command"
    case "$kind" in
        words | options)
            _fastio_offer < <(compgen -W "$words" -- "$current") ;;
        path | workspace | profile)
            compopt -o filenames 2>/dev/null
            [[ $kind == path ]] && compopt -o nospace 2>/dev/null
            _fastio_offer < <(fastio complete ${context[@]+"${context[@]}"} "$kind" \
                -- "$current" 2>/dev/null) ;;
        file)
            compopt -o filenames 2>/dev/null
            _fastio_offer < <(compgen -f -- "$current") ;;
        folder)
            compopt -o filenames 2>/dev/null
            _fastio_offer < <(compgen -d -- "$current") ;;
        command)
            _fastio_offer < <(compgen -c -- "$current") ;;
        nothing)
            if [[ $current == @* ]]; then
                _fastio_offer < <(compgen -P @ -f -- "${current#@}")
            fi ;;
    esac
}

complete -F _fastio fastio
