// What the views are made of. Text goes into the page as text, whatever a device calls itself.

import { useNow } from "./api.js";
import { ago, count, isKnown, moment, UNKNOWN, WARNINGS, warningName } from "./format.js";
import { html, useEffect, useRef } from "./vendor/htm-preact.module.js";

const PATHS = {
  fleet: "M3 13h4v8H3zM10 8h4v13h-4zM17 3h4v18h-4z",
  vehicles: "M5 11l1.6-4.4A2.5 2.5 0 0 1 9 5h6a2.5 2.5 0 0 1 2.4 1.6L19 11h.5A1.5 1.5 0 0 1 21 12.5V18h-2.5v1.5h-3V18h-7v1.5h-3V18H3v-5.5A1.5 1.5 0 0 1 4.5 11zM7.200 11h9.600l-1.100-3.100a1 1 0 0 0-1-.7H9.300a1 1 0 0 0-1 .7z",
  meters: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 2.200a6.800 6.800 0 1 1 0 13.600 6.800 6.800 0 0 1 0-13.600zM13.5 6.5 8.5 13h3l-1 4.5 5-6.5h-3z",
  operations: "M4 5h16v4.5H4zM4 11h16v4.5H4zM4 17h16v3H4zM6 6.5v1.5h2V6.5zM6 12.5V14h2v-1.5z",
  key: "M14.5 3a6.5 6.5 0 0 0-6.200 8.5L3 16.800V21h4.200v-2.300h2.300v-2.300h2.300l1-1A6.5 6.5 0 1 0 14.5 3zm2 3a1.700 1.700 0 1 1 0 3.400 1.700 1.700 0 0 1 0-3.400z",
  theme: "M12 3a9 9 0 1 0 9 9c0-.5 0-.9-.1-1.300A6 6 0 0 1 12 3z",
  bolt: "M13.5 2 5 13.5h5.5L9.5 22 19 10h-5.800z",
  back: "M15.5 4.5 8 12l7.5 7.5 1.700-1.700L11.400 12l5.800-5.800z",
  next: "M8.5 4.5 16 12l-7.5 7.5-1.700-1.700L12.600 12 6.800 6.200z",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path fill="currentColor" d=${PATHS[name]} /></svg>`;
}

/** A value of the API with how it is shown; `data` keeps it as it came. */
export function Value({ of, shown, unit, id }) {
  return html`<data class="value" id=${id} value=${isKnown(of) ? String(of) : ""}>${shown}${unit && shown !== UNKNOWN ? html`<span class="unit">${"\u202f"}${unit}</span>` : null}</data>`;
}

export function Card({ title, note, actions, children, wide, id }) {
  return html`
    <section class=${`card ${wide ? "wide" : ""}`} aria-labelledby=${id}>
      <header>
        <h2 id=${id}>${title}</h2>
        ${actions}
      </header>
      ${note && html`<p class="note">${note}</p>`}
      ${children}
    </section>`;
}

/** A figure that is read at a glance. */
export function Tile({ label, note, children }) {
  return html`<div class="tile"><dt>${label}</dt><dd>${children}${note && html`<span class="note">${note}</span>`}</dd></div>`;
}

const STATES = { reporting: ["●", "Reporting"], stale: ["◐", "Stale"], silent: ["○", "Silent"] };

/** How a device is: a shape and a word, so that no colour has to be seen. */
export function State({ of, n }) {
  const [shape, name] = STATES[of];
  return html`<span class=${`state ${of}`}><span aria-hidden="true">${shape}</span> ${isKnown(n) ? html`<${Value} of=${n} shown=${count(n)} /> ` : null}<span class="state-name">${isKnown(n) ? name.toLowerCase() : name}</span></span>`;
}

const LEVELS = { ok: ["✓", "Well"], unknown: ["?", "Unknown"], warning: ["!", "Warning"], problem: ["✕", "Problem"] };

export function Level({ of }) {
  const [shape, name] = LEVELS[of];
  return html`<span class=${`level ${of}`}><span aria-hidden="true">${shape}</span> ${name}</span>`;
}

/** Warnings in words; past the most that fit, their number. */
export function Warnings({ of, most = of.length }) {
  return of.length ? html`<ul class="chips">${of.slice(0, most).map((warning) => html`<li class="chip" key=${warning} title=${WARNINGS[warning]?.[1]}>${warningName(warning)}</li>`)}${of.length > most && html`<li class="chip" key="more" title=${of.slice(most).map(warningName).join(", ")}>+${of.length - most}</li>`}</ul>` : null;
}

/** What stands where there is nothing to show. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p><strong>${title}</strong></p>${children && html`<p>${children}</p>`}</div>`;
}

/** What stands where an answer is a problem, or is not here yet. */
export function Waiting({ problem, rows = 3 }) {
  if (problem) {
    return html`<div class="empty" role="status"><p><strong>${problem.title}</strong></p>${problem.message !== problem.title && html`<p>${problem.message}</p>`}</div>`;
  }
  return html`<div class="skeleton" aria-busy="true"><span class="hidden">Loading …</span>${Array.from({ length: rows }, (_, row) => html`<span key=${row}></span>`)}</div>`;
}

/** A choice of a few, as a row of buttons. */
export function Choice({ label, options, chosen, onChoose }) {
  return html`<div class="choice" role="group" aria-label=${label}>${options.map(([value, name]) => html`<button key=${value} type="button" aria-pressed=${value === chosen} onClick=${() => onChoose(value)}>${name}</button>`)}</div>`;
}

/** When something was, as how long ago; the moment itself is its title. */
export function Ago({ time, zone }) {
  const time_ = Date.parse(time);
  const current = useNow();
  return html`<time datetime=${time} title=${moment(time_, zone)}>${ago(time_, current)}</time>`;
}

export function Meter({ share, label }) {
  const bar = useRef();
  useEffect(() => {
    bar.current.style.width = `${Math.max(0, Math.min(1, share ?? 0)) * 100}%`;
  }, [share]);
  return html`<span class="meter" role="img" aria-label=${label}><span ref=${bar}></span></span>`;
}

export function DeviceLink({ stream, id, name }) {
  return html`<a href=${deviceAddress(stream, id)}>${id}</a>${name && html` <span class="name">${name}</span>`}`;
}

export function deviceAddress(stream, id) {
  return `#/${stream}/${encodeURIComponent(id)}`;
}
