"""Use `flip serve` from Label Studio in headless Chromium, and take the screenshot of docs/annotators.md.

    label-studio start --no-browser --username me@example.org --password PASSWORD
    flip serve --media-root DATA/media
    python docs/images/label_studio.py http://localhost:8080 me@example.org PASSWORD

Start the first with the two variables in docs/annotators.md. The script uploads a phantom, draws its box, accepts the
mask and submits it; Label Studio's export must equal the method's mask. Needs Playwright and chromium.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from saving import save

import flipenv
from flipagents.compare.methods import make_method, run_method
from flipagents.metrics import dice
from flipagents.segment.outputs import png_bytes
from flipagents.serve.label_studio import read_box
from flipenv import Case

HERE = Path(__file__).parent
PAGE = (HERE.parent / "annotators.md").read_text()
CONFIG = PAGE.split("```xml\n")[1].split("```")[0]  # the labelling config given to users
SIZE = {"width": 1360, "height": 860}
TIMEOUT = 60_000  # ms
SETTLE = 3000  # ms until the page is drawn


def main(address: str, email: str, password: str) -> None:
    """Write the screenshot beside this file."""
    case = flipenv.open_source("phantom:1?first=1000005").load(0)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport=SIZE)
        tab = context.new_page()
        tab.set_default_timeout(TIMEOUT)
        tab.goto(f"{address}/user/login/")
        tab.fill("input[name=email]", email)
        tab.fill("input[name=password]", password)
        tab.press("input[name=password]", "Enter")
        tab.wait_for_url(lambda url: "login" not in url)
        project = ask(context, address, "/api/projects/", data={"title": "nodules", "label_config": CONFIG})["id"]
        file = {"name": "scan 1.png", "mimeType": "image/png", "buffer": png_bytes(case.image)}
        ask(context, address, f"/api/projects/{project}/import", multipart={"file": file})
        model = {"project": project, "url": "http://127.0.0.1:9090", "title": "flip", "is_interactive": True}
        ask(context, address, "/api/ml/", data=model)
        task = ask(context, address, f"/api/tasks/?project={project}")["tasks"][0]["id"]

        tab.goto(f"{address}/projects/{project}/data?task={task}")
        tab.click("text=Auto-Annotation")
        tab.wait_for_timeout(SETTLE)
        tab.locator(".lsf-tool_smart:visible").first.click()
        tab.locator("text=nodule >> visible=true").last.click()
        canvas = tab.locator("canvas").first.bounding_box()
        zoom = canvas["width"] / case.image.shape[1]
        corners = [(case.box.left, case.box.top), (case.box.right, case.box.bottom)]
        (x0, y0), (x1, y1) = ((canvas["x"] + x * zoom, canvas["y"] + y * zoom) for x, y in corners)
        tab.mouse.move(x0, y0)
        tab.mouse.down()
        tab.mouse.move(x1, y1, steps=10)
        with tab.expect_response("**/interactive-annotating") as response:
            tab.mouse.up()
        assert response.value.ok, response.value.text()
        (drawn,) = response.value.request.post_data_json["context"]["result"]
        box = read_box(drawn, case.image.shape)
        tab.wait_for_selector("text=1 suggestion")
        tab.wait_for_timeout(SETTLE)
        save(Image.open(io.BytesIO(tab.screenshot())), HERE / "label-studio.png")
        tab.click("[data-testid=bottombar-accept-suggestions-button]")
        tab.click("text=Submit")
        tab.wait_for_timeout(SETTLE)
        exported = fetch(context, address, f"/api/projects/{project}/export?exportType=BRUSH_TO_PNG").body()
        browser.close()
    mask = np.asarray(Image.open(io.BytesIO(exported))) > 0  # a PNG for one mask, a ZIP file for several
    assert (mask == run_method(make_method("flip"), [Case(case.image, box)])[0]).all()
    print(f"drawn {box}, tight {case.box}; Dice of the exported mask {dice(mask, case.mask):.3f}")


def ask(context: Any, address: str, path: str, **content: Any) -> Any:
    """The JSON body of `fetch`."""
    return fetch(context, address, path, **content).json()


def fetch(context: Any, address: str, path: str, **content: Any) -> Any:
    """Response of Label Studio's REST API, as the browser's user: POST if there is content, else GET."""
    token = next((each["value"] for each in context.cookies() if each["name"] == "csrftoken"), "")
    headers = {"X-CSRFToken": token, "Referer": address}
    if "data" in content:
        content["data"], headers["Content-Type"] = json.dumps(content["data"]), "application/json"
    method = "POST" if content else "GET"
    response = context.request.fetch(f"{address}{path}", method=method, headers=headers, **content)
    assert response.ok, response.text()
    return response


if __name__ == "__main__":
    main(*sys.argv[1:4])
