// A table of any number of rows: only those in sight are in the page.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.module.js";

const SPARE = 8; // rows above and below those in sight

/**
 * columns: {name, title, cell(row), isNumber, sort, className}. rows: an array, undefined where one is not here yet.
 * sort: the order that the server uses, a minus before it where it falls. onSight(first, end): the rows in sight.
 */
export function Table({ caption, columns, rows, keyOf, sort, onSort, onSight, rowHeight = 44 }) {
  const place = useRef();
  const [sight, setSight] = useState([0, 30]);

  useEffect(() => {
    const scroller = place.current;
    let frame = null;
    const look = () => {
      frame = null;
      const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - SPARE);
      const end = Math.ceil((scroller.scrollTop + scroller.clientHeight) / rowHeight) + SPARE;
      setSight((before) => (before[0] === first && before[1] === end ? before : [first, end]));
    };
    const soon = () => (frame ??= requestAnimationFrame(look));
    const sizes = new ResizeObserver(soon);
    sizes.observe(scroller);
    scroller.addEventListener("scroll", soon, { passive: true });
    look();
    return () => {
      cancelAnimationFrame(frame);
      sizes.disconnect();
      scroller.removeEventListener("scroll", soon);
    };
  }, [rowHeight]);

  const [first, end] = [Math.min(sight[0], rows.length), Math.min(sight[1], rows.length)];
  useEffect(() => onSight?.(first, end), [first, end]);

  const shown = [];
  for (let index = first; index < end; index++) shown.push([index, rows[index]]);
  return html`
    <div class="virtual" ref=${place} tabindex="0" role="region" aria-label=${caption}>
      <table aria-rowcount=${rows.length + 1}>
        <caption class="hidden">${caption}</caption>
        <thead>
          <tr aria-rowindex="1">${columns.map(({ name, title, isNumber, className, sort: order }) => html`
            <th scope="col" key=${name} class=${`${isNumber ? "number" : ""} ${className ?? ""}`} aria-sort=${sortOf(order, sort)}>
              ${order ? html`<button type="button" onClick=${() => onSort(sort === order ? `-${order}` : order)}>${title}<span aria-hidden="true" class="arrow">${{ ascending: "↑", descending: "↓" }[sortOf(order, sort)] ?? "↕"}</span></button>` : title}
            </th>`)}</tr>
        </thead>
        <tbody>
          <${Space} rows=${first} height=${rowHeight} columns=${columns.length} />
          ${shown.map(([index, row]) => html`
            <tr key=${row ? keyOf(row) : `#${index}`} aria-rowindex=${index + 2} class=${index % 2 ? "odd" : ""}>
              ${columns.map(({ name, cell, isNumber, className, isHead }) => {
                const content = row ? cell(row) : name === columns[0].name ? "…" : "";
                const classes = `${isNumber ? "number" : ""} ${className ?? ""}`;
                return isHead ? html`<th scope="row" key=${name} class=${classes}>${content}</th>` : html`<td key=${name} class=${classes}>${content}</td>`;
              })}
            </tr>`)}
          <${Space} rows=${rows.length - end} height=${rowHeight} columns=${columns.length} />
        </tbody>
      </table>
    </div>`;
}

function sortOf(order, sort) {
  if (!order) return undefined;
  return { [order]: "ascending", [`-${order}`]: "descending" }[sort] ?? "none";
}

/** What stands for the rows that are out of sight. */
function Space({ rows, height, columns }) {
  return rows > 0 ? html`<tr aria-hidden="true" class="space"><td colspan=${columns} style=${{ height: `${rows * height}px` }}></td></tr>` : null;
}
