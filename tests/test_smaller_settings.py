"""Settings with one effect each: `reuse_port`, `spew`."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Serve
from harness.command import APP
from harness.wait import until


def test_with_reuse_port_two_servers_share_an_address(serve: Serve) -> None:
    first = serve("apps.probe:application", "--reuse-port")
    place = f"127.0.0.1:{first.port}"
    second = serve("apps.probe:application", "--reuse-port", bind=place)
    assert second.port == first.port
    first.stop()
    assert second.request("/").status == 200


@pytest.mark.parametrize("options", [[], ["--reuse-port"]])
def test_it_takes_both(serve: Serve, options: list[str]) -> None:
    first = serve("apps.probe:application", *options)
    others = [] if options else ["--reuse-port"]
    place = f"127.0.0.1:{first.port}"
    second = serve("apps.probe:application", *others, bind=place, launch=True)
    second.expect_exit(1)
    assert "in use" in second.log


@pytest.mark.parametrize("options", [[], ["--threads", "2"], ["--preload"]])
def test_spew_prints_the_lines_that_a_worker_executes(
    serve: Serve, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "site_app.py").write_text(APP)
    server = serve("site_app:app", "--spew", *options, cwd=tmp_path)
    assert server.request().text == "fine"
    until(
        lambda: "site_app:2:     start_response('200 OK', [])" in server.log,
        "the line of the application",
    )
