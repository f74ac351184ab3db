"""A WSGI application (PEP 3333) without any framework: it shows the request it got.

`oxicorn hello:app`
"""

import html
import json
import os
import platform
import threading

COUNTED = {"requests": 0}


def app(environ, start_response):
    """Answers every request with the facts about it, as HTML, JSON or text."""
    COUNTED["requests"] += 1
    kind, body = rendered(facts(environ), environ.get("HTTP_ACCEPT", ""))
    content = body.encode()
    headers = [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
    ]
    start_response("200 OK", headers)
    return [content]


def facts(environ):
    """What there is to know about a request and about who answers it."""
    server = {
        "software": environ["SERVER_SOFTWARE"],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "process": os.getpid(),
        "thread": threading.current_thread().name,
        "requests of this worker": COUNTED["requests"],
    }
    request = {
        "method": environ["REQUEST_METHOD"],
        "path": native(environ["SCRIPT_NAME"] + environ["PATH_INFO"]),
        "query": environ["QUERY_STRING"],
        "protocol": environ["SERVER_PROTOCOL"],
        "scheme": environ["wsgi.url_scheme"],
        "client": environ.get("REMOTE_ADDR", ""),
        "body": f"{len(environ['wsgi.input'].read())} bytes",
    }
    fields = {
        name[5:].replace("_", "-").title(): value
        for name, value in sorted(environ.items())
        if name.startswith("HTTP_")
    }
    return {"Server": server, "Request": request, "Header fields": fields}


def native(text):
    """Text of the environ holds bytes as Latin-1 (PEP 3333); people mean UTF-8."""
    return text.encode("latin-1").decode("utf-8", "replace")


def rendered(sections, accept):
    """The content type and the body that `accept` asks for."""
    if "application/json" in accept:
        return "application/json", json.dumps(sections, indent=2) + "\n"
    if "text/html" in accept:
        return "text/html", PAGE.replace("SECTIONS", "".join(map(as_html, sections.items())))
    return "text/plain", "\n".join(map(as_text, sections.items()))


def as_text(section):
    """One section as aligned lines."""
    title, rows = section
    width = max(map(len, rows), default=0)
    return "".join([f"{title}\n", *(f"  {name:<{width}}  {rows[name]}\n" for name in rows)])


def as_html(section):
    """One section as a table."""
    title, rows = section
    cells = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(str(value))}" for name, value in rows.items()
    )
    return f"<h2>{title}</h2><table>{cells}</table>"


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Oxicorn serves</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --accent: #b7410e }
  body { margin: 4rem auto; max-width: 44rem; padding: 0 1rem; font: 1rem/1.5 system-ui }
  h1 { font-size: 2.5rem; margin: 0 } h1 span { color: var(--accent) }
  h2 { margin: 2.5rem 0 .5rem; font-size: .85rem; letter-spacing: .08em; text-transform: uppercase;
       color: var(--accent) }
  table { width: 100%; border-collapse: collapse }
  th, td { padding: .35rem 0; border-top: 1px solid var(--line); text-align: left;
           vertical-align: top; overflow-wrap: anywhere }
  th { width: 14rem; font-weight: normal; opacity: .7 }
  td { font-family: ui-monospace, monospace; font-size: .9rem }
</style>
<h1><span>Oxicorn</span> serves.</h1>
<p>This is how your request arrived at a WSGI application. Reload: another worker may answer.</p>
SECTIONS
</html>
"""
