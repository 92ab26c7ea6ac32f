"""The completion for bash (3.2 and later; needs no bash-completion)."""

from __future__ import annotations

from fastio_cli.cli.framework.completions import Table, flags, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.completions import Places

SCRIPT = r"""@HEADER@

# What follows option $2 of command $1: sets kind and words; fails if nothing does.
_fastio_value() {
    case "$1 $2" in
@VALUES@
        *) return 1 ;;
    esac
}

# What command $1 takes after $2 arguments: sets kind and words.
_fastio_argument() {
    case "$1 $2" in
@ARGUMENTS@
        *) kind=options ;;
    esac
}

# The words that may come next after $1: sets words; fails if $1 is a whole command.
_fastio_verbs() {
    case "$1" in
@VERBS@
        *) return 1 ;;
    esac
}

# The options of command $1: sets words.
_fastio_options() {
    words='@GLOBALS@'
    case "$1" in
@OPTIONS@
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
"""


def script(table: Table) -> str:
    parts = {
        "@HEADER@": header(table),
        "@VALUES@": _kinds(table.values()),
        "@ARGUMENTS@": _kinds(table.arguments()),
        "@VERBS@": _words({"": list(table.heads), **{g: list(v) for g, v in table.verbs.items()}}),
        "@GLOBALS@": " ".join(flag for flag, _ in [*flags(table.globals), ("--help", "")]),
        "@OPTIONS@": _options(table),
    }
    text = SCRIPT
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _kinds(places_by_kind: Places) -> str:
    cases = []
    for kind, places in places_by_kind:
        patterns = " | \\\n            ".join(_pattern(*place) for place in places)
        fixed = isinstance(kind, tuple)
        assign = f"kind=words words='{' '.join(kind)}'" if fixed else f"kind='{kind}'"
        cases.append(f"        {patterns})\n            {assign} ;;")
    return "\n".join(cases)


def _pattern(command: str, place: str) -> str:
    if command == "*":
        return f'*" {place}"'
    return f'"{command} "*' if place == "*" else f'"{command} {place}"'


def _words(by_head: dict[str, list[str]]) -> str:
    return "\n".join(f"        '{h}') words='{' '.join(words)}' ;;" for h, words in by_head.items())


def _options(table: Table) -> str:
    return "\n".join(
        f"        '{command}') words=\"{' '.join(flag for flag, _ in flags(options))} $words\" ;;"
        for command, options in table.options.items()
        if options
    )
