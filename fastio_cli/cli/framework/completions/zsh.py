"""The completion for zsh, in the way of its own: ``_arguments`` and ``_describe``."""

from __future__ import annotations

from fastio_cli.cli.framework.completions import NOTHING, Table, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCRIPT = r"""#compdef fastio
@HEADER@

# Object paths, workspaces or profiles (the last argument), of the store that the line names.
_fastio_ask() {
    local -a context offered
    local i
    for ((i = 2; i <= $#_fastio_line; i++)); do
        case $_fastio_line[i] in
            (--workspace|-w|--store|--profile) context+=($_fastio_line[i] $_fastio_line[i+1]) ;;
            (--workspace=*|--store=*|--profile=*) context+=($_fastio_line[i]) ;;
        esac
    done
    offered=(${(f)"$(_call_program values fastio complete ${(q)context} $argv[-1] -- \
        ${(q)PREFIX} 2>/dev/null)"})
    compadd "${@[1,-2]}" -a offered
}

# JSON or text, or @FILE.
_fastio_text() {
    if compset -P @; then
        _files "${@[1,-2]}"
    else
        _message -e values $argv[-1]
    fi
}

@GROUPS@
_fastio() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a _fastio_line globals heads
    _fastio_line=($words)
    globals=(
@GLOBALS@
    )
    heads=(
@HEADS@
    )
    _arguments -C -S $globals '(-): :->head' '(-)*:: :->rest' && return
    case $state in
        (head) _describe -t commands command heads ;;
        (rest)
            case $words[1] in
@BRANCHES@
            esac ;;
    esac
}

if [[ $funcstack[1] == _fastio ]]; then
    _fastio "$@"
else
    compdef _fastio fastio
fi
"""

GROUP = r"""_fastio_@NAME@() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a verbs
    verbs=(
@VERBS@
    )
    _arguments -C -S $globals '(-): :->verb' '(-)*:: :->rest' && return
    case $state in
        (verb) _describe -t commands command verbs ;;
        (rest)
            case $words[1] in
@BRANCHES@
            esac ;;
    esac
}
"""


def script(table: Table) -> str:
    alone = [c for c in table.commands if " " not in c["words"]]
    branches = [f"                ({name}) _fastio_{name} ;;" for name in table.verbs]
    branches += [_branch(table, c) for c in alone if c["words"] != "help"]
    branches.append("                (help) _fastio ;;")
    parts = {
        "@HEADER@": header(table),
        "@GROUPS@": "\n".join(_group(table, name) for name in table.verbs),
        "@GLOBALS@": "\n".join("        " + option for option in _globals(table)),
        "@HEADS@": _described(table.heads),
        "@BRANCHES@": "\n".join(branches),
    }
    text = SCRIPT
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _group(table: Table, name: str) -> str:
    commands = [c for c in table.commands if c["words"].startswith(name + " ")]
    text = GROUP.replace("@NAME@", name).replace("@VERBS@", _described(table.verbs[name]))
    return text.replace("@BRANCHES@", "\n".join(_branch(table, c) for c in commands))


def _globals(table: Table) -> list[str]:
    return [*(_option(table, o) for o in table.globals), "'(- *)'{-h,--help}'[Show help]'"]


def _branch(table: Table, c: Any) -> str:
    lines = [_option(table, option) for option in c["options"]]
    for number, argument in enumerate(c["arguments"], 1):
        if argument["complete"] == "command":
            lines.append("'*:: :_normal'")
            continue
        place = "*" if argument["many"] else f"{number}" + ("" if argument["required"] else ":")
        lines.append(_quoted(f"{place}:{argument['metavar']}:{_action(table, argument)}"))
    call = " \\\n                        ".join(["_arguments -S $globals", *lines])
    return f"                ({c['words'].split()[-1]})\n                    {call} ;;"


def _option(table: Table, option: Any) -> str:
    """An option as _arguments takes it; its spellings exclude each other unless it repeats."""
    flags = option["flags"]
    value = f":{option['metavar']}:{_action(table, option)}" if option["metavar"] else ""
    help = _quoted(f"[{_escaped(option['help'])}]{_value(value)}")
    names = [flag + ("=" if value and flag.startswith("--") else "") for flag in flags]
    exclude = "'*'" if option["many"] else f"'({' '.join(flags)})'"
    spelled = "{" + ",".join(names) + "}" if len(names) > 1 else names[0]
    return f"{exclude}{spelled}{help}"


def _value(text: str) -> str:
    return text.replace("|", " or ")


def _action(table: Table, param: Any) -> str:
    kind = table.kind(param)
    if isinstance(kind, tuple):
        return f"({' '.join(kind)})"
    if kind == NOTHING:
        return f"_fastio_text {param['metavar']}"
    return {"file": "_files", "folder": "_files -/"}.get(kind, f"_fastio_ask {kind}")


def _described(words: dict[str, str]) -> str:
    return "\n".join(
        "        " + _quoted(f"{word}:{help.replace(':', chr(92) + ':')}")
        for word, help in words.items()
    )


def _escaped(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
