"""The completion for fish: one function, one switch."""

from __future__ import annotations

from fastio_cli.cli.framework.completions import Table, flags, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCRIPT = r"""@HEADER@

# What may stand at a place: the next words after a group, the options of "COMMAND -", the value of
# "COMMAND --OPTION", argument N of "COMMAND N". Prints words, or :KIND; fails if there is no such.
function __fastio_table
    switch "$argv"
@CASES@
        case '*'
            return 1
    end
end

function __fastio
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    set -l command ''
    set -l position 0
    set -l option ''
    set -l plain ''
    set -l context
    for word in $words[2..-1]
        if test -n "$option"
            contains -- $option --workspace -w --store --profile; and set -a context $option $word
            set option ''
        else if test -z "$plain"; and test "$word" = --
            set plain yes
        else if test -z "$plain"; and string match -q -- '--*=*' $word
            string match -qr -- '^--(workspace|store|profile)=' $word; and set -a context $word
        else if test -z "$plain"; and string match -qr -- '^-.' $word
            __fastio_table "$command $word" >/dev/null; and set option $word
        else if test -z "$command"
            test "$word" = help; or set command $word
        else if __fastio_table "$command" >/dev/null
            set command "$command $word"
        else
            set position (math $position + 1)
        end
    end
    set -l prefix ''
    if test -z "$plain$option"; and string match -q -- '--*=*' $current
        set option (string split -m 1 -f 1 = -- $current)
        set prefix "$option="
        set current (string split -m 1 -f 2 = -- $current)
    end
    set -l offered
    if test -n "$option"
        set offered (__fastio_table "$command $option")
    else if test -z "$plain"; and string match -q -- '-*' $current
        set offered (__fastio_table "$command -") (__fastio_table ' -')
    else if set offered (__fastio_table "$command")
        # the next word of the command
    else
        set offered (__fastio_table "$command $position")
    end
    switch "$offered[1]"
        case :path :workspace :profile
            set -l kind (string sub -s 2 -- $offered[1])
            set offered (command fastio complete $context $kind -- "$current" 2>/dev/null)
        case :file
            set offered (__fish_complete_path "$current")
        case :folder
            set offered (__fish_complete_directories "$current" '')
        case :command
            set offered (__fish_complete_command)
        case :nothing
            set offered
            if string match -q -- '@*' "$current"
                set offered @(__fish_complete_path (string sub -s 2 -- "$current"))
            end
    end
    for word in $offered
        echo -- $prefix$word
    end
end

complete -c fastio -f -a '(__fastio)'
"""


def script(table: Table) -> str:
    cases = [_case([""], table.heads)]
    cases += [_case([group], verbs) for group, verbs in table.verbs.items()]
    cases.append(_case([" -"], dict([*flags(table.globals), ("--help", "Show help")])))
    for command, options in table.options.items():
        if options:
            cases.append(_case([f"{command} -"], dict(flags(options))))
    for kind, places in [*table.values(), *table.arguments()]:
        offered = kind if isinstance(kind, tuple) else (f":{kind}",)
        cases.append(_case([" ".join(place) for place in places], dict.fromkeys(offered, "")))
    return SCRIPT.replace("@HEADER@", header(table)).replace("@CASES@", "\n".join(cases))


def _case(patterns: list[str], offered: dict[str, Any]) -> str:
    words = [_quoted(word + ("\t" + help if help else "")) for word, help in offered.items()]
    return (
        "        case " + " ".join(_quoted(p) for p in patterns) + "\n"
        "            printf '%s\\n' " + " \\\n                ".join(words)
    )


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    word, tab, help = text.partition("\t")
    return f"'{word}'\\t'{help}'" if tab else f"'{word}'"
