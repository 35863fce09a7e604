_clap_complete_taskctl() {
    local IFS=$'\013'
    local _CLAP_COMPLETE_INDEX=${COMP_CWORD}
    local _CLAP_COMPLETE_COMP_TYPE=${COMP_TYPE}
    if compopt +o nospace 2> /dev/null; then
        local _CLAP_COMPLETE_SPACE=false
    else
        local _CLAP_COMPLETE_SPACE=true
    fi
    local words=("${COMP_WORDS[@]}")
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        words[COMP_CWORD]="$2"
    fi
    COMPREPLY=( $( \
        _CLAP_IFS="$IFS" \
        _CLAP_COMPLETE_INDEX="$_CLAP_COMPLETE_INDEX" \
        _CLAP_COMPLETE_COMP_TYPE="$_CLAP_COMPLETE_COMP_TYPE" \
        _CLAP_COMPLETE_SPACE="$_CLAP_COMPLETE_SPACE" \
        COMPLETE="bash" \
        "taskctl" -- "${words[@]}" \
    ) )
    if [[ $? != 0 ]]; then
        unset COMPREPLY
    elif [[ $_CLAP_COMPLETE_SPACE == false ]] && [[ "${COMPREPLY-}" =~ [=/:]$ ]]; then
        compopt -o nospace
    fi
}
# Words as they stand in the line: bash breaks them at =, : and @ too, and --tz=UTC would come as three.
_taskctl() {
    local whole=() rest=$COMP_LINE piece i last=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        if [[ $i -eq 0 || $rest == [[:space:]]* || $rest != "$piece"* ]]; then
            last=$((last + 1))
        fi
        rest=${rest#*"$piece"}
        # What stands behind the cursor is not asked about.
        if [[ $i -eq $COMP_CWORD && $piece != [=:@]* ]]; then
            piece=$2
        fi
        whole[last]+=$piece
    done
    local COMP_WORDS=("${whole[@]}") COMP_CWORD=$last
    local kept=${whole[last]%"$2"}
    _clap_complete_taskctl "$1" "${whole[last]}" "$3"
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _taskctl taskctl
else
    complete -o nospace -o bashdefault -F _taskctl taskctl
fi
