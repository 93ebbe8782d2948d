"""`autoresearch completion`: the script a shell reads once; it asks `autoresearch complete`."""

import argparse

SCRIPTS = {
    "bash": """\
_autoresearch() {
    local IFS=$'\\n' typed=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=($(autoresearch complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
    # bash ends a word at '=' and wants only what comes after
    [[ ${typed##* } == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
}
complete -o default -F _autoresearch autoresearch
""",
    "zsh": """\
#compdef autoresearch
_autoresearch() {
    local -a found
    found=(${(f)"$(autoresearch complete -- ${words[2,CURRENT]} 2>/dev/null)"})
    compadd -S '' -- $found || _files
}
compdef _autoresearch autoresearch
""",
    "fish": """\
function __autoresearch
    set -l found (autoresearch complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    test -n "$found"; and printf '%s\\n' $found; or __fish_complete_path (commandline -ct)
end
complete -c autoresearch -f -a '(__autoresearch)'
""",
}


def main(options: argparse.Namespace) -> int:
    print(SCRIPTS[options.shell], end="")
    return 0
