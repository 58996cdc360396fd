"""Draws the pictures of docs/explanation/: `make docs-figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, HEIGHT, LEFT, TOP = 640, 240, 50, 20
Points = Sequence[tuple[float, float]]

REGISTER: Points = [(0, 40), (1, 46), (2, 52), (3, 97), (4, 58), (5, 64), (6, 5), (7, 11), (8, 17)]
IGNORED = 3
CURVE: Points = [(0, 0), (1, 6), (2, 12), (4, 18), (5, 24), (6, 24), (7, 30), (8, 36)]
STEPS: Points = [(0, 10), (1.5, 25), (4.5, 55), (6, 70), (8, 90)]
BOUNDARY = 4.0


def line(points: Points, colour: str, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(placed, points))
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def dot(point: tuple[float, float], colour: str, fill: str | None = None) -> str:
    x, y = placed(point)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" stroke="{colour}" fill="{fill or colour}"/>'


def text(x: float, y: float, words: str, colour: str = "#444") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="13">{words}</text>'


def placed(point: tuple[float, float]) -> tuple[float, float]:
    return LEFT + point[0] / 8 * (WIDTH - 2 * LEFT), TOP + (1 - point[1] / 100) * (HEIGHT - 2 * TOP)


def box(x: float, y: float, width: float, words: str, below: str = "") -> str:
    """Draw a box of one or two lines, with the middle of its left side at x and y."""
    return (
        f'<rect x="{x}" y="{y - 24}" width="{width}" height="48" rx="5" fill="#eef4fa"'
        ' stroke="#26a"/>'
        + text(x + 10, y - 3 if below else y + 5, words, "#123")
        + f'<text x="{x + 10}" y="{y + 15}" fill="#666" font-size="11">{below}</text>'
    )


def arrow(*points: tuple[float, float], words: str = "", at: tuple[float, float] = (0, 0)) -> str:
    """Draw an arrow along points, in pixels, and what it carries."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="#567" stroke-width="1.5"'
        ' marker-end="url(#head)"/>' + (text(*at, words, "#567") if words else "")
    )


HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#567"/></marker></defs>'
)


def picture(name: str, *parts: str, height: float = HEIGHT) -> None:
    (HERE / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif">\n'
        + "\n".join(['<rect width="100%" height="100%" fill="white"/>', *parts])
        + "\n</svg>\n"
    )


def main() -> None:
    kept = [point for number, point in enumerate(REGISTER) if number != IGNORED]
    picture(
        "curve",
        line(kept[:5], "#888"),
        line(kept[5:], "#888"),
        *(dot(point, "#888") for point in kept),
        dot(REGISTER[IGNORED], "#c33", "white"),
        text(264, 31, "a spike: ignored", "#c33"),
        text(430, 233, "a reset: counts 0", "#c33"),
        text(60, 110, "register", "#888"),
        line(CURVE, "#26a"),
        text(60, 194, "energy", "#26a"),
    )
    x, _ = placed((BOUNDARY, 0))
    picture(
        "edges",
        f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - TOP}" stroke="#c33"/>',
        line(STEPS, "#26a"),
        *(dot(point, "#26a") for point in STEPS),
        dot((BOUNDARY, 50), "#c33", "white"),
        text(x - 130, 34, "10:00 to 11:00"),
        text(x + 20, 34, "11:00 to 12:00"),
        text(x + 10, 150, "the step counts by its time on either side", "#c33"),
    )
    picture(
        "queue",
        HEAD,
        *(box(10, 45 + 62 * row, 120, f"request {row + 1}", "waits") for row in range(3)),
        *(arrow((130, 45 + 62 * row), (186, 107)) for row in range(3)),
        box(190, 107, 120, "write queue", "one a process"),
        arrow((310, 107), (356, 107)),
        box(360, 107, 120, "one statement", "one commit"),
        arrow((480, 95), (516, 56)),
        arrow((480, 119), (516, 158)),
        box(520, 45, 110, "history", "append only"),
        box(520, 169, 110, "latest", "one row a device"),
        arrow((420, 131), (420, 226), (70, 226), (70, 195)),
        text(86, 220, "after the commit each request gets its answer", "#567"),
    )
    picture(
        "tables",
        HEAD,
        box(10, 120, 130, "reading", "meter or vehicle"),
        arrow((140, 110), (206, 60)),
        arrow((140, 130), (206, 180)),
        box(210, 45, 180, "latest", "hot: 20,000 rows, in memory"),
        box(210, 195, 180, "history", "cold: 28.8 million rows a day"),
        arrow((300, 171), (300, 148)),
        box(210, 122, 180, "hours", "first, last, lowest, highest"),
        arrow((390, 45), (466, 45)),
        box(470, 45, 160, "status"),
        arrow((390, 122), (466, 130)),
        arrow((390, 195), (466, 150)),
        box(470, 140, 160, "energy, series,", "sessions, fleet"),
        text(308, 163, "refresh", "#567"),
    )
    picture(
        "retention",
        *(
            f'<rect x="{x}" y="{y}" width="{width}" height="26" fill="{fill}" stroke="#26a"/>'
            for x, y, width, fill in (
                (520, 30, 100, "#9cc4e8"),
                (300, 30, 220, "#dbe9f6"),
                (60, 90, 560, "#e8f0dc"),
            )
        ),
        text(530, 48, "raw, rows"),
        text(310, 48, "raw, columnstore"),
        text(70, 108, "hours"),
        '<line x1="60" y1="140" x2="620" y2="140" stroke="#444"/>',
        *(
            f'<line x1="{x}" y1="{top}" x2="{x}" y2="145" stroke="#444" stroke-dasharray="3 3"/>'
            for x, top in ((60, 90), (300, 30), (520, 30), (620, 30))
        ),
        text(598, 160, "now"),
        text(500, 160, "7 days"),
        text(272, 160, "1,095 days"),
        text(40, 160, "3,650 days"),
        text(300, 20, "the guard refreshes hours, then drops raw", "#c33"),
        height=170,
    )


if __name__ == "__main__":
    main()
