"""The page at `/` in a real browser, on a network that has only the service in it.

Needs playwright and Chromium: NETSPEC_CHROMIUM names the program, or it is on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import netspec
from tests.service.running import LENET, ROOT, SIAMESE, Running, eventually, serving, write_network

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("browser")]

SAMPLES = ROOT / "configs" / "samples"
EVIL = "<script>document.title='evil'<img src=x onerror=document.title='evil'>"
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which finds no other host."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("NETSPEC_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise RuntimeError("Chromium is missing: `apt-get install chromium`, or set NETSPEC_CHROMIUM")
    alone = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=alone)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of what the page has to show."""
    folder = tmp_path_factory.mktemp("networks")
    numbers = write_network(folder / "numbers.yaml", {
        "inputs": {"value": ["N", 2], "flag": {"shape": ["N", 2], "dtype": "bool"},
                   "index": {"shape": ["N", 2], "dtype": "int64"}},
        "layers": [{"name": "y", "type": "mul", "inputs": "value", "other": 3},
                   {"name": "root", "type": "sqrt", "inputs": "y"},
                   {"name": "both", "type": "add", "inputs": ["flag", "index"]}],
        "outputs": ["y", "root", "both"],
    })  # fmt: skip
    evil = folder / "evil.yaml"
    evil.write_text(
        f"netspec: 1\nname: {json.dumps(EVIL)}\ndescription: {json.dumps(EVIL)}\n"
        f"inputs: {{x: {{shape: [N, 2], description: {json.dumps(EVIL)}}}}}\n"
        f"layers: [{{name: y, type: Softmax, dim: 1}}]\n"
        f"outputs: {{best: {{from: y, labels: [{json.dumps(EVIL)}, b]}}}}\n"
    )
    bad = folder / "bad.yaml"
    bad.write_text("netspec: 1\ninputs: {x: [N]}\nlayers: [{type: Linaer}]\n")
    color = write_network(folder / "color.yaml", {
        "inputs": {"image": {"shape": ["N", 3, "H", "W"],
                             "picture": {"resize": 32, "crop": 16, "mean": [0.5, 0.4, 0.3], "std": 0.5}}},
        "layers": [{"name": "same", "type": "mul", "other": 1}],
    })  # fmt: skip
    configs = [ROOT / "configs" / f"{name}.yaml" for name in ("autoencoder", "segmentation")]
    with serving(LENET, SIAMESE, *configs, numbers, evil, bad, color) as running:
        yield running


@pytest.fixture
def page(browser: Browser, pages: Running) -> Iterator[Page]:
    """The page; afterwards: nothing was complained of, and nothing asked for elsewhere."""
    with opened(browser, pages) as page:
        yield page


@contextmanager
def opened(browser: Browser, service: Running, expected: tuple[str, ...] = ()) -> Iterator[Page]:
    """expected: parts of what the console may say."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://{service.address}/")
    yield page
    title = page.title()
    context.close()
    assert [text for text in said if not any(part in text for part in expected)] == []
    assert asked
    assert [url for url in asked if not url.startswith(f"http://{service.address}/")] == []
    assert "evil" not in title.replace(EVIL, "")


def choose(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    page.get_by_role("main").get_by_role("heading", name=name, level=2).wait_for()


def give(page: Page, name: str, way: str) -> Any:
    """Chooses how an input is given; its fieldset."""
    group = page.get_by_role("group", name=name)
    group.get_by_label(way, exact=True).check()
    return group


def numbers(page: Page, name: str, text: str) -> None:
    give(page, name, "numbers").get_by_label("JSON, nested or flat").fill(text)


def picture(page: Page, name: str, file: Path) -> None:
    page.get_by_role("group", name=name).get_by_label("Picture, or drop one here").set_input_files(file)
    page.get_by_role("img", name=f"{name} as the network sees it").wait_for()


def run(page: Page) -> str:
    """Runs it; what stands under the outputs."""
    page.get_by_role("button", name="Run").click()
    page.get_by_text("answered in").wait_for()
    return page.locator(".outputs").inner_text()


def cells(page: Page, table: str) -> list[list[str]]:
    rows = page.get_by_role("table", name=table).locator("tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def test_lenet_reads_a_seven(page: Page) -> None:
    """By the same numbers as `netspec run`."""
    choose(page, "lenet5")
    picture(page, "image", SAMPLES / "seven.png")
    run(page)
    best = cells(page, "best of probabilities")
    from netspec.interop.pictures import read_picture

    expected = netspec.load(LENET)(read_picture(SAMPLES / "seven.png", ["N", 1, 28, 28]))[0]
    assert [row[0] for row in best] == [str(i) for i in np.argsort(-expected)[:5]]
    assert best[0][0] == "7"
    assert float(best[0][1]) == pytest.approx(expected[7], rel=1e-3)


def test_layers_are_shown_as_netspec_shapes_shows_them(page: Page) -> None:
    choose(page, "lenet5")
    rows = cells(page, "Layers")
    assert rows[0] == ["conv1", "Conv2d", "[N, 6, 28, 28]", "156", "117,600*N"]
    assert [row[0] for row in rows] == [entry.name for entry in netspec.load(LENET).children()]
    assert "61,706" in page.locator(".facts").inner_text()
    assert "416,520*N (416,520 for N = 1)" in page.locator(".facts").inner_text()
    page.get_by_label("N", exact=True).fill("2")
    page.get_by_label("N", exact=True).press("Tab")
    assert "(833,040 for N = 2)" in page.locator(".facts").inner_text()
    assert cells(page, "Inputs and outputs") == [
        ["image", "input", "[N, 1, 28, 28]", "FP32", "grey picture, white on black, 0 to 1"],
        ["probabilities", "output", "[N, 10]", "FP32", "10 labels; needs image"],
    ]
    choose(page, "segmentation")
    assert "H % 16 == 0" in page.locator(".facts").inner_text()


def test_numbers(page: Page) -> None:
    choose(page, "numbers")
    numbers(page, "value", "[[1, 2], [-3, 4]]")
    text = run(page)
    assert "y FP32 [2, 2]\n\n-9 to 12\n\n3  6  -9  12" in text
    assert "1.732 to 3.464, 1 NaN" in text
    assert "without both: inputs for it were not given" in page.get_by_text("answered in").inner_text()
    numbers(page, "value", "[4, 5]")
    numbers(page, "flag", "[true, false]")
    numbers(page, "index", "[9007199254740991, -5]")
    assert "both INT64 [1, 2]\n\n-5 to 9007199254740992\n\n9007199254740992  -5" in run(page)


def test_what_is_wrong_is_said(page: Page) -> None:
    choose(page, "numbers")
    error = page.get_by_role("main").get_by_role("alert")
    page.get_by_role("button", name="Run").click()
    assert "y needs value; root needs value; both needs flag, index" in error.inner_text()
    numbers(page, "value", "[1, 2")
    page.get_by_role("button", name="Run").click()
    assert "value: not JSON" in error.inner_text()


def test_what_the_service_refuses_is_said(browser: Browser, pages: Running) -> None:
    with opened(browser, pages, expected=("400 (Bad Request)",)) as page:
        choose(page, "numbers")
        numbers(page, "value", "[[1, 2, 3]]")
        page.get_by_role("button", name="Run").click()
        page.get_by_text("input value: axis 1 is 2 in [N, 2], got 3").wait_for()


def test_pictures_that_come_out(page: Page) -> None:
    choose(page, "autoencoder")
    picture(page, "image", SAMPLES / "six.png")
    run(page)
    drawn = page.get_by_role("img", name="reconstruction as a picture")
    pixels = drawn.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"
    )
    from netspec.interop.pictures import read_picture

    given = read_picture(SAMPLES / "six.png", ["N", 1, 28, 28])
    expected = netspec.load(ROOT / "configs/autoencoder.yaml")(given)["reconstruction"].reshape(-1) * 255
    assert len(pixels) == 784
    assert np.abs(np.array(pixels) - expected).max() <= 1


def test_a_picture_gives_the_sizes_that_vary(page: Page) -> None:
    """Cut down to what the network takes."""
    from PIL import Image

    choose(page, "segmentation")
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"netspec-page-{os.getpid()}.png"
    Image.new("L", (50, 70), 128).save(path)
    try:
        picture(page, "image", path)
    finally:
        path.unlink()
    assert page.get_by_label("H", exact=True).input_value() == "64"
    assert page.get_by_label("W", exact=True).input_value() == "48"
    assert "mask INT64 [1, 64, 48]" in run(page)


def test_a_picture_is_prepared_as_its_input_says(page: Page, tmp_path: Path) -> None:
    """A plain colour, since the browser resizes by its own filter."""
    from PIL import Image

    choose(page, "color")
    Image.new("RGB", (60, 40), (255, 51, 0)).save(tmp_path / "plain.png")
    picture(page, "image", tmp_path / "plain.png")
    text = run(page)
    assert "same FP32 [1, 3, 16, 16]" in text
    assert "-0.6 to 1\n" in text
    assert page.get_by_role("img", name="same as a picture").is_visible()


def test_random_numbers_and_two_inputs(page: Page) -> None:
    choose(page, "siamese")
    picture(page, "left", SAMPLES / "six.png")
    give(page, "right", "random numbers")
    assert "probability FP32 [1, 1]" in run(page)
    give(page, "target", "random numbers")
    assert "loss FP32 []" in run(page)


def test_names_are_texts(page: Page) -> None:
    choose(page, EVIL)
    numbers(page, "x", "[1, 2]")
    assert EVIL in run(page)
    assert page.locator("main script, nav script, main img[src]").count() == 0
    assert page.locator("main h2").inner_text() == EVIL


def test_a_wrong_model_says_why(page: Page) -> None:
    choose(page, "bad")
    assert (
        "Not ready: its files are wrong; the server's log says where."
        in page.get_by_role("main").inner_text()
    )


def test_the_keyboard_does(page: Page) -> None:
    """From the top to the outputs without a mouse, and the focus is seen."""
    choose(page, "numbers")
    numbers(page, "value", "[1, 2]")
    page.get_by_label("JSON, nested or flat").first.focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Run":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.get_by_text("answered in").wait_for()


def test_everything_has_a_name(page: Page) -> None:
    """Every field and button is named for those who do not see it, and ids are not used twice."""
    for name in ("siamese", "numbers", "segmentation"):
        choose(page, name)
        unnamed = page.evaluate(
            "() => [...document.querySelectorAll('input, textarea, button, select')]"
            ".filter((e) => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).map((e) => e.outerHTML)"
        )
        assert unnamed == []
        twice = page.evaluate(
            "() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
            " return ids.filter((id, i) => ids.indexOf(id) !== i); }"
        )
        assert twice == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Browser, pages: Running, scheme: Any) -> None:
    """WCAG 2.2's 4.5 to 1, for every text that is seen."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"http://{pages.address}/#/lenet5/1")
    picture(page, "image", SAMPLES / "seven.png")
    run(page)
    ratios = page.evaluate(CONTRAST)
    context.close()
    assert len(ratios) > 60
    assert min(ratios) >= 4.5


CONTRAST = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = color.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}"""


def test_a_token_is_asked_for_and_kept_nowhere(browser: Browser, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with (
        serving(LENET, token_file=str(token)) as service,
        opened(browser, service, expected=("401 (Unauthorized)",)) as page,
    ):
        field = page.get_by_label("Token")
        field.fill("wrong")
        field.press("Enter")
        page.get_by_text("the request needs").wait_for()
        field.fill("secret")
        field.press("Enter")
        page.get_by_role("main").get_by_role("heading", name="lenet5", level=2).wait_for()
        assert field.is_hidden()
        kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
        assert "secret" not in kept
        page.reload()
        page.get_by_label("Token").wait_for()


def test_a_model_that_changes_is_seen(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("netspec: 1\ninputs: {x: [N]}\nlayers: [{type: Linaer}]\n")
    with serving(LENET, path, model_control=True) as service, opened(browser, service) as page:
        page.get_by_text("not ready: its files are wrong").wait_for()
        write_network(path, {"inputs": {"x": ["N", 2]}, "layers": [{"type": "ReLU"}]})
        assert service.post("/v2/repository/models/net/load", {}).status == 200
        eventually(lambda: page.get_by_text("not ready").count() == 0, "the page does not see it")


def test_scripts_in_the_page_do_not_run(browser: Browser, pages: Running) -> None:
    """Even if a text were taken for HTML one day: the content security policy forbids it."""
    with opened(browser, pages, expected=("Content Security Policy", "404 (Not Found)")) as page:
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran=1\">')")
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran=1'}))"
        )
        page.wait_for_timeout(300)
        assert page.evaluate("window.ran") is None


def test_amounts_are_what_python_says(page: Page) -> None:
    """The multiply-adds of every example network, at odd sizes."""
    sizes = {name: 33 + 7 * index for index, name in enumerate("NHWLDCT")}
    texts = ["-7//2*3 + min(H, W, 5) - max(2, (N - 1)//2)"]
    for name in ("resnet18", "googlenet", "densenet121", "segmentation"):
        report = netspec.shapes(netspec.parse(ROOT / "configs" / f"{name}.yaml"))
        texts += {str(layer["macs"]) for layer in report["layers"]} | {str(report["macs"])}
        texts += {str(d) for layer in report["layers"] for o in layer["outputs"].values() for d in o["shape"]}
    script = "import('./page/expressions.js').then((m) => texts.map((t) => String(m.evaluate(t, sizes))))"
    found = page.evaluate(f"([texts, sizes]) => {script}", [texts, sizes])
    names = {"__builtins__": {}, "min": min, "max": max, **sizes}
    assert found == [str(eval(text, names)) for text in texts]
    assert len(set(found)) > 50
