"""Reports in a real browser: nothing on its console, nothing asked of a network, every chart drawn, at any width."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from experiments.conftest import Runs, runs  # noqa: F401

from ntkflow.experiments import compare_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

_PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const images = [...document.images].filter((image) => image.offsetParent !== null);
  parent.postMessage("PROBE" + JSON.stringify({
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
    images: images.map((image) => [image.complete, image.naturalWidth]),
  }) + "END", "*");
}, 300));
</script></body>"""

# A window of a browser has a least width, a frame has not.
_FRAME = """<!doctype html><title>frame</title><body style="margin: 0">
<script>addEventListener("message", (event) => {{ document.title = event.data; }});</script>
<iframe src="{page}" style="border: 0; width: {width}px; height: 900px"></iframe></body>"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def seen(
    report: Path, folder: Path, width: int, probe: str = _PROBE, policy: str = f"{_POLICY}; script-src 'unsafe-inline'"
) -> tuple[dict[str, Any], list[str], list[str]]:
    """What a probe in the page finds, lines of the console, and addresses that the page asked for."""
    page, log = folder / f"page-{width}.html", folder / f"net-{width}.json"
    text = report.read_text().replace("</body>", probe)
    assert _POLICY in text
    # The page allows no scripts; the copy, those that stand in it.
    page.write_text(text.replace(_POLICY, policy))
    outside = folder / f"frame-{width}.html"
    outside.write_text(_FRAME.format(page=page.name, width=width))
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / f'profile-{width}'}", "--window-size=1600,1000", "--hide-scrollbars"]
    command += [f"--log-net-log={log}", "--disable-background-networking", "--disable-component-update"]
    command += ["--virtual-time-budget=4000", "--dump-dom", outside.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (found,) = re.findall(r"PROBE(\{.*?\})END", ended.stdout)
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text())["events"]
    # What the browser asks for by itself has no page as its initiator.
    asked = [
        event["params"]["url"]
        for event in events
        if event.get("params", {}).get("initiator", "not an origin") != "not an origin"
    ]
    return json.loads(found.replace("&quot;", '"')), console, asked


@pytest.fixture(scope="module")
def reports(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    other = tmp_path_factory.mktemp("joined")
    shutil.copytree(runs.folder("digits"), other / "copy")
    folder, _ = compare_results([runs.folder("digits"), other / "copy"], other / "both")
    return {"comparison": runs.folder("digits") / "report.html", "comparisons": folder / "report.html"}


@pytest.mark.parametrize("kind", ["comparison", "comparisons"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_report(kind: str, width: int, reports: dict[str, Path], tmp_path: Path) -> None:
    found, console, asked = seen(reports[kind], tmp_path, width)
    assert console == []
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    assert found["inner"] == width
    # Wide tables and figures scroll in their own boxes: the page itself does not.
    assert found["scroll"] <= found["inner"]
    assert len(found["images"]) >= 2
    for complete, natural in found["images"]:
        assert complete
        assert natural > 0


def test_it_can_fail(reports: dict[str, Path], tmp_path: Path) -> None:
    broken = (
        '<img src="data:image/png;base64,AAAA" width="10"><div style="width: 3000px">wide</div>'
        '<script src="http://127.0.0.1:9/nothing.js"></script><script>console.error("bad")</script>'
    )
    found, console, asked = seen(
        reports["comparison"], tmp_path, 1400, broken + _PROBE, policy="default-src * data: 'unsafe-inline'"
    )
    assert any("bad" in line for line in console)
    assert any(address.startswith("http://127.0.0.1:9") for address in asked)
    assert found["scroll"] > found["inner"]
    assert any(natural == 0 for _, natural in found["images"])
