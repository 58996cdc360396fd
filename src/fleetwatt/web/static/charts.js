// Charts of time by uPlot: drawn in the theme's colours, read without them, by keyboard and as a table.

import { clock, dayName, isKnown, moment } from "./format.js";
import { DAY } from "./times.js";
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.module.js";

const { uPlot } = window;
/** The page's own type, in px. */
function font(size) {
  return `${size}px ${getComputedStyle(document.body).fontFamily}`;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: read("muted"), line: read("line"), surface: read("surface"), ac: read("ac"), dc: read("dc"),
    accent: read("accent"), shade: read("shade"), bad: read("bad"),
  };
}

/** Diagonal lines of a colour, so that a bar is known without its colour. */
function hatched(context, colour, background) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const brush = tile.getContext("2d");
  brush.fillStyle = background;
  brush.fillRect(0, 0, 8, 8);
  brush.strokeStyle = colour;
  brush.lineWidth = 2.5;
  brush.beginPath();
  for (const from of [-8, 0, 8]) {
    brush.moveTo(from, 8);
    brush.lineTo(from + 8, 0);
  }
  brush.stroke();
  return context.createPattern(tile, "repeat");
}

function axes(zone, unit, palette, range) {
  const common = { stroke: palette.ink, font: font(12), ticks: { show: false }, grid: { stroke: palette.line, width: 1 } };
  const isLong = range[1] - range[0] > 3 * (DAY / 1000);
  return [
    {
      ...common,
      grid: { show: false },
      space: 64,
      size: 30,
      values: (_, splits) => splits.map((second) => {
        const time = clock(second * 1000, zone);
        return isLong || time === "00:00" ? dayName(second * 1000, zone) : time;
      }),
    },
    { ...common, size: 52, label: unit, labelFont: font(12), labelSize: 18, labelGap: 0, space: 36 },
  ];
}

/** Draw behind the lines: spans as shades, and behind all from where on figures may still change. */
function backdrop(marks, palette) {
  return (plot) => {
    const { ctx: context, bbox } = plot;
    const x = (second) => Math.max(bbox.left, Math.min(bbox.left + bbox.width, plot.valToPos(second, "x", true)));
    const shade = (spans, fill) => {
      context.fillStyle = fill;
      for (const [start, end] of spans) {
        if (x(end) > x(start)) context.fillRect(x(start), bbox.top, x(end) - x(start), bbox.height);
      }
    };
    context.save();
    shade(marks.sessions ?? [], palette.shade);
    shade(marks.gaps ?? [], hatched(context, palette.line, "transparent"));
    if (marks.exactUntil && x(marks.exactUntil) < bbox.left + bbox.width - 1) {
      shade([[marks.exactUntil, plot.scales.x.max]], palette.shade);
    }
    context.restore();
  };
}

/** Draw above the lines: the line of `exactUntil`, and a cross for each ignored reading. */
function marksAbove(marks, palette) {
  return (plot) => {
    const { ctx: context, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const x = (second) => plot.valToPos(second, "x", true);
    context.save();
    context.font = font(12 * ratio);
    context.fillStyle = palette.ink;
    context.strokeStyle = palette.ink;
    context.lineWidth = ratio;
    if (marks.exactUntil && x(marks.exactUntil) < bbox.left + bbox.width - 1) {
      context.setLineDash([4 * ratio, 4 * ratio]);
      context.beginPath();
      context.moveTo(x(marks.exactUntil), bbox.top);
      context.lineTo(x(marks.exactUntil), bbox.top + bbox.height);
      context.stroke();
      context.textAlign = "right";
      context.fillText("exact until here", x(marks.exactUntil) - 6 * ratio, bbox.top + 12 * ratio);
    }
    context.textAlign = "center";
    context.fillStyle = palette.bad;
    for (const [second, shape] of marks.points ?? []) context.fillText(shape, x(second), bbox.top + 11 * ratio);
    context.restore();
  };
}

/** The nearest point under the pointer, in words, beside it. */
function tooltip(words) {
  let box;
  return {
    init: (plot) => {
      box = document.createElement("div");
      box.className = "tooltip";
      box.hidden = true;
      plot.over.append(box);
    },
    setCursor: (plot) => {
      const { idx: index, left } = plot.cursor;
      const lines = isKnown(index) && left >= 0 ? words(index) : null;
      box.hidden = !lines;
      if (!lines) return;
      box.replaceChildren(...lines.map((line, number) => {
        const item = document.createElement(number ? "span" : "strong");
        item.textContent = line;
        return item;
      }));
      const isRight = left > plot.over.clientWidth / 2;
      box.style.left = isRight ? "" : `${left + 12}px`;
      box.style.right = isRight ? `${plot.over.clientWidth - left + 12}px` : "";
    },
  };
}

/**
 * A chart of points of time.
 *
 * points: the times, in seconds. series: {name, unit, values, kind: "bars" | "hatched" | "line" | "steps" | "band", colour, digits}.
 * range: seconds from and to. marks: {exactUntil, sessions, gaps, points}. words(index): the lines of a point.
 */
export function Chart({ points, series, range, zone, unit, marks = {}, words, label, height = 240, yRange, group, span = 0 }) {
  const place = useRef();
  const [theme, setTheme] = useState(0);
  const [reading, setReading] = useState("");
  const plot = useRef(null);

  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setTheme((number) => number + 1);
    const observer = new MutationObserver(changed);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    dark.addEventListener("change", changed);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", changed);
    };
  }, []);

  useEffect(() => {
    const palette = colours();
    const stroke = (name) => palette[name];
    const drawn = series.map(({ kind, colour, name }) => {
      const hue = stroke(colour);
      const shared = { label: name, stroke: hue, points: { show: false }, spanGaps: false };
      if (kind === "bars") return { ...shared, width: 0, fill: hue, paths: uPlot.paths.bars({ size: [0.4, 28], align: -1 }) };
      if (kind === "hatched") {
        return { ...shared, width: 1.5, fill: (own) => hatched(own.ctx, hue, palette.surface), paths: uPlot.paths.bars({ size: [0.4, 28], align: 1 }) };
      }
      if (kind === "edge") return { ...shared, width: 0 };
      if (kind === "steps") return { ...shared, width: 2, fill: palette.shade, paths: uPlot.paths.stepped({ align: 1 }) };
      return { ...shared, width: 2 };
    });
    const edges = series.map(({ kind }, index) => (kind === "edge" ? index + 1 : 0)).filter(Boolean);
    const made = new uPlot({
      width: Math.max(place.current.clientWidth, 200),
      height,
      series: [{}, ...drawn],
      bands: edges.length === 2 ? [{ series: edges, fill: palette.shade }] : [],
      axes: axes(zone, unit, palette, range),
      scales: {
        x: { time: true, range },
        y: { range: yRange ?? ((_, least, most) => [Math.min(0, least ?? 0), (most || 1) * 1.12]) },
      },
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), zone),
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { show: series.every(({ kind }) => kind !== "bars") },
        ...(group ? { sync: { key: group } } : {}),
      },
      hooks: { drawClear: [backdrop(marks, palette)], draw: [marksAbove(marks, palette)] },
      plugins: [{ hooks: tooltip(words) }],
    }, [points, ...series.map(({ values }) => values)], place.current);
    plot.current = made;
    const sizes = new ResizeObserver(() => {
      const width = place.current?.clientWidth;
      if (width && width !== made.width) made.setSize({ width, height });
    });
    sizes.observe(place.current);
    return () => {
      sizes.disconnect();
      made.destroy();
    };
  }, [points, series, theme, zone, height]);

  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const made = plot.current;
    const from = made.cursor.idx ?? (step > 0 ? -1 : points.length);
    const index = Math.max(0, Math.min(points.length - 1, from + step));
    made.setCursor({ left: made.valToPos(points[index], "x"), top: 10 });
    setReading(words(index).join(", "));
  };

  return html`
    <figure class="chart">
      <figcaption class="legend">${series.filter(({ kind }) => kind !== "edge").map(({ name, kind, colour }) => html`<span key=${name}><span class=${`swatch ${kind} ${colour}`} aria-hidden="true"></span>${name}</span>`)}${marks.legend}</figcaption>
      <div class="plot" role="img" tabindex="0" aria-label=${`${label} Left and right arrows read the points.`} ref=${place} onKeyDown=${move}></div>
      <output class="hidden" aria-live="polite">${reading}</output>
      <details class="as-table">
        <summary>As a table</summary>
        <${PointTable} points=${points} series=${series} zone=${zone} span=${span} />
      </details>
    </figure>`;
}

/** The same points as a table, made when it is opened. */
function PointTable({ points, series, zone }) {
  const [isOpen, setOpen] = useState(false);
  const place = useRef();
  useEffect(() => {
    const details = place.current.closest("details");
    const toggled = () => setOpen(details.open);
    details.addEventListener("toggle", toggled);
    return () => details.removeEventListener("toggle", toggled);
  }, []);
  const shown = series.filter(({ kind }) => kind !== "edge");
  return html`<div ref=${place} class="scroll" tabindex="0" role="region" aria-label="The points of the chart">${isOpen && html`
    <table>
      <thead><tr><th scope="col">Time</th>${shown.map(({ name, unit }) => html`<th scope="col" class="number" key=${name}>${name}${unit ? ` (${unit})` : ""}</th>`)}</tr></thead>
      <tbody>${points.map((second, index) => html`<tr key=${second}><th scope="row">${moment(second * 1000, zone)}</th>${shown.map(({ name, values, show }) => html`<td class="number" key=${name}>${show(values[index])}</td>`)}</tr>`)}</tbody>
    </table>`}</div>`;
}
