"""How smoothly the maps zoom: frame times in Chromium with three maps of synthetic points.

    python tests/support/frames.py [points]

Frames while one map is zoomed by the wheel and moved by the pointer for some seconds, and the
processor's time that the page spends on each. Without a GPU the points are drawn on the CPU, which
is part of the former alone.
"""

import base64
import json
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ckf_demo.ui.charts import PLOTLY_SCRIPT  # noqa: E402
from ckf_demo.ui.map import COLOURS, SHAPES, template  # noqa: E402

SPACES = ("collaborative", "llm", "text")
GROUPS = 19
COUNT = """() => {
    window.frames_seen = [];
    let last = performance.now();
    const count = (now) => {
        window.frames_seen.push(now - last);
        last = now;
        requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
}"""


def drawn(n: int, dimensions: int) -> str:
    """What the tab sends to its script, for ``n`` random points in each space."""
    rng = np.random.default_rng(0)
    points = base64.b64encode(rng.normal(size=(n, dimensions)).astype("<f4").tobytes()).decode()
    space = {"points": points, "person": [0.0] * dimensions, "hover": "", "facts": "", "title": ""}
    return json.dumps(
        {
            "kind": "films",
            "method": "PCA",
            "dimensions": dimensions,
            "name": "somebody",
            "spaces": dict.fromkeys(SPACES, space),
            "history": list(range(20)),
            "recommended": list(range(20, 30)),
            "selected": 30,
        }
    )


def catalogue(n: int) -> dict:
    """Names and groups of ``n`` points."""
    groups = [
        {"name": str(k), "colour": COLOURS[k % len(COLOURS)], "shape": SHAPES[k % len(SHAPES)]}
        for k in range(GROUPS)
    ]
    return {
        "items": [str(i) for i in range(n)],
        "hover": [f"<b>Film {i}</b>" for i in range(n)],
        "group": [i % GROUPS for i in range(n)],
        "groups": groups,
    }


def spent(session: CDPSession) -> float:
    """Milliseconds of the processor that the page's main thread has taken so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(entry["value"] for entry in metrics if entry["name"] == "TaskDuration")


def measure(page: Page, n: int, dimensions: int) -> tuple[float, list[float], float]:
    """Milliseconds until three maps are drawn, between frames while one is zoomed, and of the
    processor for each of these."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    page.set_content(f"<body><div id='maps' style='width:1200px'>{template(SPACES)}</div></body>")
    page.add_style_tag(path=ROOT / "assets/style.css")
    page.add_script_tag(path=PLOTLY_SCRIPT)
    page.add_script_tag(path=ROOT / "assets/app.js")
    began = page.evaluate(
        """async ([value, catalogue]) => {
            const began = performance.now();
            const element = document.querySelector('#maps');
            window.ckf.maps(element, () => value, { catalogue: async () => catalogue }, () => {});
            const plots = () => [...element.querySelectorAll('.ckf-map')];
            const frame = () => new Promise((done) => requestAnimationFrame(done));
            while (!plots().every((plot) => plot._fullLayout)) await frame();
            await frame();
            return performance.now() - began;
        }""",
        [drawn(n, dimensions), catalogue(n)],
    )
    page.wait_for_timeout(1000)
    box = page.locator(".ckf-map").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    before = spent(session)
    page.evaluate(COUNT)
    page.keyboard.down("Control")
    for step in range(30):
        page.mouse.wheel(0, -40 if step % 30 < 15 else 40)
        page.wait_for_timeout(16)
    page.keyboard.up("Control")
    page.mouse.down()
    for step in range(30):
        page.mouse.move(middle[0] + step, middle[1] + step / 2)
        page.wait_for_timeout(16)
    page.mouse.up()
    frames = page.evaluate("window.frames_seen")
    return began, frames, (spent(session) - before) / len(frames)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        for dimensions in (2, 3):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began, frames, taken = measure(page, n, dimensions)
            page.close()
            high = statistics.quantiles(frames, n=20)[-1]
            print(
                f"{n:,} points, {dimensions}-D: drawn after {began:.0f} ms; while zooming and "
                f"moving, frames of {statistics.median(frames):.0f} ms (median), {high:.0f} ms "
                f"(95 %), n = {len(frames)}, {taken:.1f} ms of the processor each"
            )
        browser.close()


if __name__ == "__main__":
    main()
