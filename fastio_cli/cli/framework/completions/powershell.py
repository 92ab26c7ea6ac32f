"""The completion for PowerShell (5.1 and later)."""

from __future__ import annotations

from fastio_cli.cli.framework.completions import Table, flags, header

SCRIPT = r"""@HEADER@

Register-ArgumentCompleter -Native -CommandName fastio -ScriptBlock {
    param($current, $ast, $cursor)

    # What may stand at a place: the next words after a group, the options of "COMMAND -", the value
    # of "COMMAND --OPTION", argument N of "COMMAND N". Words with their help, or :KIND.
    $table = @{
@ROWS@
    }
    $find = {
        param($command, $place)
        if ($table.ContainsKey("$command $place")) { $table["$command $place"] }
        elseif ($table.ContainsKey("* $place")) { $table["* $place"] }
        elseif ($place -match '^\d+$') { $table["$command *"] }
    }
    $command = ''; $position = 0; $option = ''; $plain = $false; $context = @()
    $before = @($ast.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { "$_".Trim("'", '"') })
    foreach ($word in $before) {
        if ($option) {
            if (@('--workspace', '-w', '--store', '--profile') -ccontains $option) {
                $context += $option, $word
            }
            $option = ''
        }
        elseif (-not $plain -and $word -ceq '--') { $plain = $true }
        elseif (-not $plain -and $word -clike '--*=*') {
            if ($word -cmatch '^--(workspace|store|profile)=') { $context += $word }
        }
        elseif (-not $plain -and $word -clike '-?*') {
            if (& $find $command $word) { $option = $word }
        }
        elseif (-not $command) { if ($word -cne 'help') { $command = $word } }
        elseif ($table.ContainsKey($command)) { $command = "$command $word" }
        else { $position++ }
    }
    $prefix = ''
    if (-not $plain -and -not $option -and $current -clike '--*=*') {
        $option, $current = $current -split '=', 2
        $prefix = "$option="
    }
    if ($option) { $offered = & $find $command $option }
    elseif (-not $plain -and $current -clike '-*') {
        $offered = $table["$command -"] + $table[' -']
    }
    elseif ($table.ContainsKey($command)) { $offered = $table[$command] }
    else { $offered = & $find $command $position }
    if ($offered -is [string]) {
        # Of anything else PowerShell offers files by itself.
        if (-not (@(':path', ':workspace', ':profile') -ccontains $offered)) { return }
        $kind = $offered.TrimStart(':')
        $offered = @{}
        & fastio complete @context $kind -- $current 2>$null |
            ForEach-Object { $offered[$_] = $_ }
    }
    foreach ($word in ($offered.Keys | Sort-Object)) {
        if ($word.StartsWith($current, [StringComparison]::Ordinal)) {
            $text = if ($word -match '\s') { "'$word'" } else { $word }
            [System.Management.Automation.CompletionResult]::new(
                "$prefix$text", $word, 'ParameterValue', $offered[$word])
        }
    }
}
"""


def script(table: Table) -> str:
    rows = [_row("", table.heads)]
    rows += [_row(group, verbs) for group, verbs in table.verbs.items()]
    rows.append(_row(" -", dict([*flags(table.globals), ("--help", "Show help")])))
    rows += [_row(f"{words} -", dict(flags(options))) for words, options in table.options.items()]
    for kind, places in [*table.values(), *table.arguments()]:
        offered = {word: word for word in kind} if isinstance(kind, tuple) else f":{kind}"
        rows += [_row(" ".join(place), offered) for place in places]
    return SCRIPT.replace("@HEADER@", header(table)).replace("@ROWS@", "\n".join(rows))


def _row(place: str, offered: dict[str, str] | str) -> str:
    if isinstance(offered, str):
        return f"        {_quoted(place)} = {_quoted(offered)}"
    words = "; ".join(f"{_quoted(word)} = {_quoted(help)}" for word, help in offered.items())
    return f"        {_quoted(place)} = @{{ {words} }}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
