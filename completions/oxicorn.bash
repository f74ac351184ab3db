# Generated from crates/settings by `cargo xtask generate`; do not edit.

_oxicorn() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        -c | --config)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --paste | --paster)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --paste-global) return ;;
        --gunicorn-shim)
            mapfile -t COMPREPLY < <(compgen -W 'off missing always' -- "$word")
            return
            ;;
        -b | --bind) return ;;
        --host) return ;;
        --port) return ;;
        --uds)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --fd) return ;;
        --backlog) return ;;
        -w | --workers) return ;;
        -k | --worker-class)
            mapfile -t COMPREPLY < <(compgen -W 'sync gthread gevent tornado asgi' -- "$word")
            return
            ;;
        --interface)
            mapfile -t COMPREPLY < <(compgen -W 'auto wsgi asgi asgi2 asgi3' -- "$word")
            return
            ;;
        --threads) return ;;
        --worker-connections) return ;;
        --max-requests | --limit-max-requests) return ;;
        --max-requests-jitter | --limit-max-requests-jitter) return ;;
        --max-worker-memory) return ;;
        --restart-mode)
            mapfile -t COMPREPLY < <(compgen -W 'hot phased regular' -- "$word")
            return
            ;;
        -t | --timeout) return ;;
        --graceful-timeout | --timeout-graceful-shutdown) return ;;
        --orphan-timeout) return ;;
        --shutdown-delay) return ;;
        --keep-alive | --timeout-keep-alive) return ;;
        --tls-handshake-timeout) return ;;
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
        --header) return ;;
        --forwarded-allow-ips) return ;;
        --forwarder-headers) return ;;
        --proxy-protocol)
            mapfile -t COMPREPLY < <(compgen -W 'off auto v1 v2' -- "$word")
            return
            ;;
        --proxy-allow-from) return ;;
        --protocol)
            mapfile -t COMPREPLY < <(compgen -W 'http uwsgi' -- "$word")
            return
            ;;
        --uwsgi-allow-from) return ;;
        --chdir)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --pythonpath | --app-dir)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        -e | --env) return ;;
        --env-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
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
        --log-format)
            mapfile -t COMPREPLY < <(compgen -W 'text json logfmt' -- "$word")
            return
            ;;
        --request-id-header) return ;;
        --color)
            mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$word")
            return
            ;;
        --logger-class)
            mapfile -t COMPREPLY < <(compgen -W 'project.logging.Logger' -- "$word")
            return
            ;;
        --log-config)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --log-config-json)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --log-syslog-to) return ;;
        --log-syslog-prefix) return ;;
        --log-syslog-facility) return ;;
        --reload-engine)
            mapfile -t COMPREPLY < <(compgen -W 'auto poll inotify' -- "$word")
            return
            ;;
        --reload-extra-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --reload-dir)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --reload-include) return ;;
        --reload-exclude) return ;;
        --reload-delay) return ;;
        --statsd-host) return ;;
        --statsd-prefix) return ;;
        --dogstatsd-tags) return ;;
        --keyfile | --ssl-keyfile)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --certfile | --ssl-certfile)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --cert-reqs | --ssl-cert-reqs) return ;;
        --ca-certs | --ssl-ca-certs)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --ciphers | --ssl-ciphers) return ;;
        --asgi-loop | --loop)
            mapfile -t COMPREPLY < <(compgen -W 'auto asyncio uvloop' -- "$word")
            return
            ;;
        --asgi-lifespan | --lifespan)
            mapfile -t COMPREPLY < <(compgen -W 'auto on off' -- "$word")
            return
            ;;
        --asgi-disconnect-grace-period) return ;;
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
        mapfile -t COMPREPLY < <(compgen -W '-h --help -v --version -c --config --strict-config --factory --paste --paster --paste-global --gunicorn-shim -b --bind --host --port --uds --fd --backlog --reuse-port -w --workers -k --worker-class --interface --threads --worker-connections --max-requests --limit-max-requests --max-requests-jitter --limit-max-requests-jitter --max-worker-memory --preload --restart-mode -t --timeout --graceful-timeout --timeout-graceful-shutdown --orphan-timeout --shutdown-delay --keep-alive --timeout-keep-alive --tls-handshake-timeout --head-timeout --body-timeout --body-min-rate --write-timeout --linger-timeout --boot-timeout --ready-check --observe-timeout --limit-request-line --limit-request-fields --limit-request-field_size --limit-request-body --body-memory-limit --response-memory-limit --response-spool-limit --response-kept-limit --tmp-upload-dir --header-map --permit-unconventional-http-method --permit-unconventional-http-version --casefold-http-method --sendfile --no-sendfile --server-header --no-server-header --date-header --no-date-header --header --forwarded-allow-ips --proxy-headers --no-proxy-headers --forwarder-headers --proxy-protocol --proxy-protocol-required --proxy-allow-from --protocol --uwsgi-allow-from --chdir --pythonpath --app-dir -e --env --env-file -D --daemon -R --enable-stdio-inheritance -p --pid -u --user -g --group --initgroups -m --umask -n --name --access-logfile --access-log --no-access-log --access-logformat --error-logfile --log-file --log-level --log-format --request-id-header --capture-output --color --use-colors --no-use-colors --logger-class --log-config --log-config-json --log-syslog --log-syslog-to --log-syslog-prefix --log-syslog-facility --disable-redirect-access-to-syslog --reload --reload-engine --reload-extra-file --reload-dir --reload-include --reload-exclude --reload-delay --check-config --print-config --spew --statsd-host --statsd-prefix --dogstatsd-tags --enable-backlog-metric --keyfile --ssl-keyfile --certfile --ssl-certfile --cert-reqs --ssl-cert-reqs --ca-certs --ssl-ca-certs --ciphers --ssl-ciphers --asgi-loop --loop --asgi-lifespan --lifespan --asgi-disconnect-grace-period --root-path --ws --websocket-max-message-size --ws-max-size --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --ws-deflate-min-size --ws-deflate-takeover --control-socket --control-socket-mode --no-control-socket' -- "$word")
    fi
}

complete -F _oxicorn oxicorn
