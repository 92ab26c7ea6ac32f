# Completion for fastio in bash (3.2 and later): the program says what may stand at the cursor.
_fastio() {
    local kind='' prefix='' text='' word before='' IFS=$'\n'
    COMPREPLY=()
    {
        read -r kind && read -r prefix && read -r text
        # Readline replaces only what stands after the last of its word breaks.
        word=$prefix$text
        [[ $word == *[:=]* ]] && before=${word%"${word##*[:=]}"}
        while read -r word; do
            word=$prefix${word%%$'\t'*}
            COMPREPLY+=("${word#"$before"}")
        done < <(case $kind in
            (file | arguments) compgen -f -- "$text" ;;
            (folder) compgen -d -- "$text" ;;
            (command) compgen -c -- "$text" ;;
            (*) cat ;;
        esac)
    } < <("$1" complete line -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ $kind == words ]] || compopt -o filenames 2>/dev/null # which are quoted where needed
    [[ $word == */ ]] && compopt -o nospace 2>/dev/null
}

complete -F _fastio fastio
