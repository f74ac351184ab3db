"""The words the end-to-end tests are written with.

`server` starts and ends real server processes, `client` speaks raw HTTP/1 over real sockets,
`processes` reads what the kernel says about processes, `wait` waits for things with a deadline,
`gate` holds a request in the application, `spec` reads `spec/`, `http1_case` and `wsgi_case` run
its cases.
Nothing here knows the inside of the server or sleeps in the hope that something happened.
"""
