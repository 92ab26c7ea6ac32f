# Completion for fastio in fish: the program says what may stand at the cursor.
function __fastio
    set -l words (commandline -opc)
    set -l answer (command $words[1] complete words -- $words[2..-1] "="(commandline -ct) 2>/dev/null)
    set -l offered $answer[4..-1]
    switch "$answer[1]"
        case file arguments
            set offered (__fish_complete_path "$answer[3]")
        case folder
            set offered (__fish_complete_directories "$answer[3]" '')
        case command
            set offered (__fish_complete_command)
    end
    for word in $offered
        echo -- $answer[2]$word
    end
end

complete -c fastio -f -a '(__fastio)'
