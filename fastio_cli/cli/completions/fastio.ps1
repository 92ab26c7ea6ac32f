# Completion for fastio in PowerShell (5.1 and later): the program says what may stand at the cursor.
Register-ArgumentCompleter -Native -CommandName fastio -ScriptBlock {
    param($current, $ast, $cursor)
    $before = @($ast.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { "$_".Trim("'", '"') })
    $text = $current.Trim("'", '"')
    # An empty argument would be left out: hence the = before the last word.
    $kind, $prefix, $typed, $offered = @(& fastio complete words '--' @before "=$text" 2>$null)
    if (@('words', 'names') -cnotcontains $kind) { return } # PowerShell offers files by itself
    foreach ($line in $offered) {
        $word, $help = "$line" -split "`t", 2
        $quoted = if ($word -match '\s') { "'$word'" } else { $word }
        $shown = if ($help) { $help } else { $word }
        [System.Management.Automation.CompletionResult]::new(
            "$prefix$quoted", $word, 'ParameterValue', $shown)
    }
}
