# Generated from crates/settings by `cargo xtask generate`; do not edit.

_oxicorn() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        -c | --config)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        -b | --bind) return ;;
        --backlog) return ;;
        -w | --workers) return ;;
        -k | --worker-class)
            mapfile -t COMPREPLY < <(compgen -W 'sync gthread asgi' -- "$word")
            return
            ;;
        --interface)
            mapfile -t COMPREPLY < <(compgen -W 'auto wsgi asgi' -- "$word")
            return
            ;;
        --threads) return ;;
        --worker-connections) return ;;
        --max-requests) return ;;
        --max-requests-jitter) return ;;
        --max-worker-memory) return ;;
        --restart-mode)
            mapfile -t COMPREPLY < <(compgen -W 'hot phased regular' -- "$word")
            return
            ;;
        -t | --timeout) return ;;
        --graceful-timeout) return ;;
        --orphan-timeout) return ;;
        --shutdown-delay) return ;;
        --keep-alive) return ;;
        --head-timeout) return ;;
        --body-timeout) return ;;
        --body-min-rate) return ;;
        --write-timeout) return ;;
        --linger-timeout) return ;;
        --boot-timeout) return ;;
        --ready-check) return ;;
        --observe-timeout) return ;;
        --limit-request-line) return ;;
        --limit-request-fields) return ;;
        --limit-request-field_size) return ;;
        --limit-request-body) return ;;
        --body-memory-limit) return ;;
        --response-memory-limit) return ;;
        --response-spool-limit) return ;;
        --response-kept-limit) return ;;
        --tmp-upload-dir)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --header-map)
            mapfile -t COMPREPLY < <(compgen -W 'drop refuse dangerous' -- "$word")
            return
            ;;
        --forwarded-allow-ips) return ;;
        --forwarder-headers) return ;;
        --chdir)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --pythonpath)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        -e | --env) return ;;
        -p | --pid)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        -u | --user) return ;;
        -g | --group) return ;;
        -m | --umask) return ;;
        -n | --name) return ;;
        --access-logfile)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --access-logformat) return ;;
        --error-logfile | --log-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --log-level)
            mapfile -t COMPREPLY < <(compgen -W 'debug info warning error critical' -- "$word")
            return
            ;;
        --reload-extra-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --asgi-loop)
            mapfile -t COMPREPLY < <(compgen -W 'auto asyncio uvloop' -- "$word")
            return
            ;;
        --asgi-lifespan)
            mapfile -t COMPREPLY < <(compgen -W 'auto on off' -- "$word")
            return
            ;;
        --root-path) return ;;
        --ws)
            mapfile -t COMPREPLY < <(compgen -W 'auto none websockets websockets-sansio wsproto' -- "$word")
            return
            ;;
        --websocket-max-message-size | --ws-max-size) return ;;
        --ws-ping-interval) return ;;
        --ws-ping-timeout) return ;;
        --ws-deflate-min-size) return ;;
        --control-socket)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --control-socket-mode) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-h --help -v --version -c --config -b --bind --backlog -w --workers -k --worker-class --interface --threads --worker-connections --max-requests --max-requests-jitter --max-worker-memory --preload --restart-mode -t --timeout --graceful-timeout --orphan-timeout --shutdown-delay --keep-alive --head-timeout --body-timeout --body-min-rate --write-timeout --linger-timeout --boot-timeout --ready-check --observe-timeout --limit-request-line --limit-request-fields --limit-request-field_size --limit-request-body --body-memory-limit --response-memory-limit --response-spool-limit --response-kept-limit --tmp-upload-dir --header-map --permit-unconventional-http-method --permit-unconventional-http-version --casefold-http-method --sendfile --no-sendfile --forwarded-allow-ips --forwarder-headers --chdir --pythonpath -e --env -D --daemon -R --enable-stdio-inheritance -p --pid -u --user -g --group --initgroups -m --umask -n --name --access-logfile --access-logformat --error-logfile --log-file --log-level --capture-output --reload --reload-extra-file --check-config --print-config --asgi-loop --asgi-lifespan --root-path --ws --websocket-max-message-size --ws-max-size --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --ws-deflate-min-size --ws-deflate-takeover --control-socket --control-socket-mode --no-control-socket' -- "$word")
    fi
}

complete -F _oxicorn oxicorn
