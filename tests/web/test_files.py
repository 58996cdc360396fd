"""How the page is served: to whom, with which headers, and from which files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.web import files
from tests.web import packages

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
# The vendored file, and where npm's package has it.
VENDORED = {
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
    "uPlot.LICENSE": "uplot/LICENSE",
    "htm-preact.module.js": "htm/preact/standalone.module.js",
    "htm.LICENSE": "htm/LICENSE",
}
OWN = [path for path in files.FOLDER.iterdir() if path.suffix in files.MEDIA_TYPES]


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return create_app(Config()).test_client()


@pytest.fixture(scope="module")
def page(client: FlaskClient) -> str:
    return client.get("/", headers=BROWSER).text


def test_a_browser_gets_the_page(client: FlaskClient) -> None:
    response = client.get("/", headers=BROWSER)

    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert "Accept" in response.headers["Vary"]
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "accept",
    ["application/json", "*/*", "", "application/json, text/html;q=0.5", "text/html;q=0"],
)
def test_other_clients_get_a_problem(client: FlaskClient, accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


def test_the_policy_allows_our_own_scripts_and_styles_and_nothing_unsafe(
    client: FlaskClient, page: str
) -> None:
    for address in ("/", *re.findall(r'(?:src|href)="(web/[^"]+)"', page)):
        policy = client.get(address, headers=BROWSER).headers["Content-Security-Policy"]

        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe-" not in policy


def test_the_page_names_each_module_so_that_all_load_at_once(page: str) -> None:
    modules = {path.name for path in OWN if path.suffix == ".js"}

    assert modules <= set(re.findall(r'web/[0-9a-f]{16}/([\w-]+\.js)"', page))


def test_a_file_is_kept_for_ever_as_its_address_holds_its_digest(
    client: FlaskClient, page: str
) -> None:
    for address in re.findall(r'(?:src|href)="(web/[^"]+)"', page):
        response = client.get(address)

        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]


def test_a_page_of_another_release_gets_this_ones_files_and_does_not_keep_them(
    client: FlaskClient,
) -> None:
    response = client.get("/web/0123456789abcdef/main.js")

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["nothing.js", "index.html", "vendor/uPlot.LICENSE", "..%2fpage.py", "../page.py"]
)
def test_nothing_but_the_pages_files_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/web/{files.load().digest}/{path}").status_code == 404


def test_a_file_is_compressed_for_who_takes_gzip(client: FlaskClient) -> None:
    address = f"/web/{files.load().digest}/main.js"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    compressed = client.get(address, headers={"Accept-Encoding": "gzip, br"})

    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert len(compressed.data) < len(plain.data) / 2
    assert compressed.headers["ETag"] != plain.headers["ETag"]


def test_who_has_the_page_already_gets_304(client: FlaskClient) -> None:
    tag = client.get("/", headers=BROWSER).headers["ETag"]

    assert client.get("/", headers=BROWSER | {"If-None-Match": tag}).status_code == 304


def test_nothing_of_the_page_comes_from_another_host() -> None:
    for path in OWN:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|[\"'(]//\w", text), path.name


def test_nothing_of_the_page_makes_html_of_text() -> None:
    for path in OWN:
        sinks = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function"
        assert not re.search(sinks, path.read_text()), path.name


def test_vendored_files_are_those_of_npms_packages(tmp_path: Path) -> None:
    installed = packages.install(tmp_path)
    vendor = files.FOLDER / "vendor"

    assert {path.name for path in vendor.iterdir()} == VENDORED.keys()
    for name, original in VENDORED.items():
        assert (vendor / name).read_bytes() == (installed / original).read_bytes(), name
