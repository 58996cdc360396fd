"""Draws the pictures of docs/explanation/energy.md: `make docs-figures`."""

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


def picture(name: str, *parts: str) -> None:
    (HERE / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
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
        text(255, 24, "a spike: ignored", "#c33"),
        text(430, 200, "a reset: counts 0", "#c33"),
        text(60, 110, "register", "#888"),
        line(CURVE, "#26a"),
        text(60, 212, "energy", "#26a"),
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


if __name__ == "__main__":
    main()
