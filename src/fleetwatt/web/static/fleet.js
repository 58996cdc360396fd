// The fleet: who reports, what it draws and delivers, how well, and what needs attention.

import { now, url, useAnswer, useNow } from "./api.js";
import { Chart } from "./charts.js";
import { count, dayName, energy, isKnown, moment, clock, number, percent, WARNINGS, warningName } from "./format.js";
import { Ago, Card, Choice, deviceAddress, DeviceLink, Empty, Level, Meter, State, Tile, Value, Waiting, Warnings } from "./parts.js";
import { dayOf, HOUR, hourOf, MINUTE, rfc3339 } from "./times.js";
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.module.js";

const WINDOWS = [["24h", "24 hours"], ["48h", "48 hours"], ["30d", "30 days"]];
// A vehicle that hardly drew anything says little by its efficiency.
const LEAST_KWH = 1;
const LISTED = 8;
const CARDS = 10;
// In the order in which they should be worked through.
const URGENT = ["no_readings", "no_mapping", "efficiency_above_one", "unmetered_energy", "implausible_step", "counter_reset", "low_coverage", "readings_ignored"];

/** The window's ends and bucket: whole hours that are over, from midnight at the latest, or whole days. */
function windowOf(chosen, zone, hour) {
  if (chosen === "30d") return { start: dayOf(hour, zone, -30), end: dayOf(hour, zone), bucket: "1d" };
  const hours = chosen === "48h" ? 48 : 24;
  return { start: Math.min(hour - hours * HOUR, dayOf(hour, zone)), end: hour, bucket: "1h" };
}

/** The hour that runs, so that a window moves with it. */
function useHour(zone) {
  const [hour, setHour] = useState(hourOf(now(), zone));
  useEffect(() => {
    const look = () => setHour(hourOf(now(), zone));
    look();
    const timer = setInterval(look, 5000);
    return () => clearInterval(timer);
  }, [zone]);
  return hour;
}

export function Fleet({ site, zone, scopes }) {
  const [chosen, choose] = useState("24h");
  const hour = useHour(zone);
  const span = useMemo(() => windowOf(chosen, zone, hour), [chosen, zone, hour]);
  const asked = { start: rfc3339(span.start), end: rfc3339(span.end), tz: zone, site };
  const fleet = useAnswer(url("v1/analytics/fleet", { ...asked, bucket: span.bucket }));
  const summary = fleet.answer;
  // The hour that runs is in no aggregate yet, and takes longer than all others: it comes after them.
  const running = useAnswer(summary ? url("v1/analytics/fleet", { start: rfc3339(hour), end: rfc3339(hour + HOUR), tz: zone, site }) : null, 15);
  const hasToday = chosen !== "30d";
  const day = useAnswer(hasToday || dayOf(hour, zone) === hour ? null : url("v1/analytics/fleet", { ...asked, start: rfc3339(dayOf(hour, zone)), end: rfc3339(hour) }));
  const hours = hasToday ? summary?.items : day.answer?.items ?? [];
  const current = running.answer?.items[0];
  const choice = html`<${Choice} label="Window" options=${WINDOWS} chosen=${chosen} onChoose=${choose} />`;

  return html`
    <div class="grid">
      ${summary ? html`<${Tiles} summary=${summary} hours=${hours} running=${current} zone=${zone} hour=${hour} />` : html`<div class="wide"><${Waiting} problem=${fleet.problem} rows=${2} /></div>`}
      <${Card} id="energy" title="Energy" wide actions=${choice}>
        ${summary ? html`<${Energy} summary=${summary} running=${span.bucket === "1h" ? current : null} zone=${zone} span=${span} />` : html`<${Waiting} problem=${fleet.problem} rows=${6} />`}
      </${Card}>
      <${Card} id="attention" title="Needs attention">
        ${summary ? html`<${Attention} summary=${summary} site=${site} asked=${asked} scopes=${scopes} zone=${zone} />` : html`<${Waiting} problem=${fleet.problem} />`}
      </${Card}>
      <${Card} id="worst" title="Least efficient" note=${`Of vehicles that drew at least ${LEAST_KWH} kWh in the window.`}>
        ${summary && html`<${Worst} asked=${asked} />`}
      </${Card}>
      <${Card} id="charging" title="Charging now" wide>
        ${running.answer || running.problem ? html`<${Charging} site=${site} zone=${zone} />` : html`<${Waiting} />`}
      </${Card}>
    </div>`;
}

const sum = (items, name) => {
  const known = items.map((item) => item[name]).filter(isKnown);
  return known.length ? known.reduce((one, other) => one + other, 0) : null;
};

function Tiles({ summary, hours, running, zone, hour }) {
  const midnight = dayOf(hour, zone);
  const today = [...hours.filter(({ start }) => Date.parse(start) >= midnight), ...(running ? [running] : [])];
  const since = (kwh) => (running ? `${number(kwh)} kWh since ${clock(hour, zone)}` : `up to ${clock(hour, zone)}`);
  const [ac, dc] = [sum(today, "kwhConsumedAc"), sum(today, "kwhDeliveredDc")];
  const [acShown, acUnit] = energy(ac);
  const [dcShown, dcUnit] = energy(dc);
  const mapped = sum(today, "kwhConsumedAcMapped");
  const efficiency = mapped ? sum(today, "kwhDeliveredDcMetered") / mapped : null;
  return html`
    <dl class="tiles wide">
      <${Devices} label="Vehicles" stream="vehicles" of=${summary.vehicles} />
      <${Devices} label="Meters" stream="meters" of=${summary.meters} />
      <${Tile} label="AC drawn today" note=${since(running?.kwhConsumedAc)}><${Value} id="ac-today" of=${ac} shown=${acShown} unit=${acUnit} /></${Tile}>
      <${Tile} label="DC delivered today" note=${since(running?.kwhDeliveredDc)}><${Value} id="dc-today" of=${dc} shown=${dcShown} unit=${dcUnit} /></${Tile}>
      <${Tile} label="Efficiency today" note=${`since ${clock(midnight, zone)}, ${zone}`}><${Value} id="efficiency-today" of=${efficiency} shown=${percent(efficiency)} /></${Tile}>
    </dl>`;
}

function Devices({ label, stream, of: { reporting, stale, silent } }) {
  const total = reporting + stale + silent;
  return html`
    <div class="tile devices">
      <dt><a href=${`#/${stream}`}>${label}</a></dt>
      <dd>
        <${Value} id=${`${stream}-total`} of=${total} shown=${count(total)} />
        ${total > 0 && html`<${Share} parts=${{ reporting, stale, silent }} total=${total} />`}
        <span class="states"><${State} of="reporting" n=${reporting} /><${State} of="stale" n=${stale} /><${State} of="silent" n=${silent} /></span>
      </dd>
    </div>`;
}

function Share({ parts, total }) {
  let before = 0;
  return html`<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">${Object.entries(parts).map(([name, n]) => {
    const x = before;
    before += (100 * n) / total;
    return n ? html`<rect key=${name} class=${name} x=${x} width=${(100 * n) / total} height="4" />` : null;
  })}</svg>`;
}

function Energy({ summary, running, zone, span }) {
  const chart = useMemo(() => {
    const items = running ? [...summary.items, running] : summary.items;
    const middle = ({ start, end }) => (Date.parse(start) + Date.parse(end)) / 2000;
    return {
      points: items.map(middle),
      series: [
        { name: "AC drawn from the grid", unit: "kWh", kind: "bars", colour: "ac", values: items.map((item) => item.kwhConsumedAc), show: (kwh) => number(kwh) },
        { name: "DC delivered to vehicles", unit: "kWh", kind: "hatched", colour: "dc", values: items.map((item) => item.kwhDeliveredDc), show: (kwh) => number(kwh) },
      ],
      words: (index) => {
        const { start, end, kwhConsumedAc, kwhDeliveredDc, efficiency } = items[index];
        const name = span.bucket === "1d" ? dayName(Date.parse(start), zone) : `${dayName(Date.parse(start), zone)}, ${clock(Date.parse(start), zone)} to ${clock(Date.parse(end), zone)}`;
        return [name, `AC ${number(kwhConsumedAc)} kWh`, `DC ${number(kwhDeliveredDc)} kWh`, `Efficiency ${percent(efficiency)}`];
      },
    };
  }, [summary, running]);
  const exact = Date.parse(summary.exactUntil);
  const isExact = exact >= Date.parse(summary.windowEnd);
  const [ac, acUnit] = energy(summary.kwhConsumedAc);
  const [dc, dcUnit] = energy(summary.kwhDeliveredDc);
  if ([summary, running ?? {}].every(({ kwhConsumedAc, kwhDeliveredDc }) => !isKnown(kwhConsumedAc) && !isKnown(kwhDeliveredDc))) {
    return html`<${Empty} title="No energy in this window">Devices that report make a bar an hour here. To try: <code>fleetwatt simulate --since 26h --live</code></${Empty}>`;
  }
  return html`
    <p class="sums">
      <span>AC <${Value} id="ac-window" of=${summary.kwhConsumedAc} shown=${ac} unit=${acUnit} /></span>
      <span>DC <${Value} id="dc-window" of=${summary.kwhDeliveredDc} shown=${dc} unit=${dcUnit} /></span>
      <span>Efficiency <${Value} id="efficiency-window" of=${summary.efficiency} shown=${percent(summary.efficiency)} /></span>
      ${isKnown(summary.avgBatteryTemp) && html`<span>Battery, mean <${Value} of=${summary.avgBatteryTemp} shown=${number(summary.avgBatteryTemp, 1)} unit="°C" /></span>`}
    </p>
    <${Chart} ...${chart} range=${[span.start / 1000, (span.end + (span.bucket === "1h" ? HOUR : 0)) / 1000]} zone=${zone} unit="kWh"
      label=${`AC and DC energy by the ${span.bucket === "1d" ? "day" : "hour"}: ${number(summary.kwhConsumedAc)} and ${number(summary.kwhDeliveredDc)} kWh in all.`}
      marks=${{ exactUntil: isExact ? null : exact / 1000 }} />
    <p class="note" id="exact">${isExact ? "Every reading that has arrived is counted." : `Exact until ${moment(exact, zone)}: late readings after it count from the next refresh on.`} The sums are of whole ${span.bucket === "1d" ? "days" : "hours"}${running ? "; the last bar is the hour that runs" : ""}.</p>`;
}

function seenBefore() {
  try {
    return new Set(JSON.parse(localStorage.getItem("fleetwatt.seen") ?? "[]"));
  } catch {
    return new Set();
  }
}

function Attention({ summary, site, asked, scopes, zone }) {
  const doctor = useAnswer(scopes.includes("admin") ? "v1/admin/doctor" : null, 60);
  const findings = doctor.answer?.items.filter(({ level }) => level === "problem") ?? [];
  const kinds = [...URGENT.filter((kind) => summary.warnings.includes(kind)), ...summary.warnings.filter((kind) => !URGENT.includes(kind))];
  const late = ["vehicles", "meters"].flatMap((stream) => ["stale", "silent"].map((state) => ({ stream, state, n: summary[stream][state] }))).filter(({ n }) => n);
  if (!kinds.length && !late.length && !findings.length) {
    return html`<${Empty} title="Nothing needs attention">All devices report, and the window's energy has no warning.</${Empty}>`;
  }
  return html`
    <ul class="attention">
      ${findings.map(({ check, says }) => html`<li key=${check + says}><a class="line" href="#/operations"><${Level} of="problem" /> <span><strong>${check}</strong> ${says}</span></a></li>`)}
      ${late.map(({ stream, state, n }) => html`<li key=${stream + state}><${Late} stream=${stream} state=${state} n=${n} site=${site} zone=${zone} /></li>`)}
      ${kinds.map((kind) => html`<li key=${kind}><${Kind} kind=${kind} asked=${asked} /></li>`)}
    </ul>`;
}

function Late({ stream, state, n, site, zone }) {
  const [isOpen, setOpen] = useState(false);
  const page = useAnswer(isOpen && state === "stale" ? url(`v1/status/${stream}`, { stale: true, site, limit: 50 }) : null);
  const id = stream === "vehicles" ? "vehicleId" : "meterId";
  return html`
    <details onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><${State} of=${state} n=${n} /> ${n === 1 ? stream.slice(0, -1) : stream}</summary>
      ${isOpen && (state === "silent"
        ? html`<p class="note">No reading since the window began: see the device, its gateway and its network. <a href=${`#/${stream}?stale=true`}>List them</a></p>`
        : page.answer
          ? html`<ul class="rows">${page.answer.items.map((item) => html`<li key=${item[id]}><${DeviceLink} stream=${stream} id=${item[id]} /> <span class="note"><${Ago} time=${item.timestamp} zone=${zone} /></span></li>`)}</ul>`
          : html`<${Waiting} problem=${page.problem} />`)}
    </details>`;
}

/** The vehicles that have a warning, to be ticked off one by one. */
function Kind({ kind, asked }) {
  const [isOpen, setOpen] = useState(false);
  const [seen, setSeen] = useState(seenBefore);
  const page = useAnswer(isOpen ? url("v1/analytics/performance", { ...asked, warning: kind, limit: 100 }) : null, 60);
  const day = asked.end.slice(0, 10);
  const tick = (id, isSeen) => {
    const after = new Set(seen);
    if (isSeen) after.add(`${day} ${kind} ${id}`);
    else after.delete(`${day} ${kind} ${id}`);
    // What was ticked on other days is done with.
    const kept = [...after].filter((name) => name.startsWith(day));
    setSeen(new Set(kept));
    try {
      localStorage.setItem("fleetwatt.seen", JSON.stringify(kept));
    } catch {
      // Then the ticks live as long as the page.
    }
  };
  const items = page.answer?.items ?? [];
  const left = items.filter(({ vehicleId }) => !seen.has(`${day} ${kind} ${vehicleId}`)).length;
  return html`
    <details onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><span class="chip">${warningName(kind)}</span> <span class="note">${page.answer ? `${count(left)} of ${count(items.length)}${page.answer.next ? " and more" : ""} to look at` : WARNINGS[kind]?.[1]}</span></summary>
      ${isOpen && (page.answer
        ? html`
          <p class="note">${WARNINGS[kind]?.[1]}</p>
          <ul class="rows">${items.map(({ vehicleId, kwhConsumedAc, kwhDeliveredDc }) => html`
            <li key=${vehicleId}>
              <label class="tick"><input type="checkbox" checked=${seen.has(`${day} ${kind} ${vehicleId}`)} onChange=${(event) => tick(vehicleId, event.currentTarget.checked)} /><span class="hidden">${vehicleId} is looked at</span></label>
              <${DeviceLink} stream="vehicles" id=${vehicleId} />
              <span class="note">AC ${number(kwhConsumedAc)} kWh, DC ${number(kwhDeliveredDc)} kWh</span>
            </li>`)}</ul>`
        : html`<${Waiting} problem=${page.problem} />`)}
    </details>`;
}

function Worst({ asked }) {
  const { answer, problem } = useAnswer(url("v1/analytics/performance", { ...asked, sort: "efficiency", limit: 50 }), 60);
  if (!answer) return html`<${Waiting} problem=${problem} rows=${5} />`;
  const items = answer.items.filter(({ efficiency, kwhConsumedAc }) => isKnown(efficiency) && kwhConsumedAc >= LEAST_KWH).slice(0, LISTED);
  if (!items.length) return html`<${Empty} title="No vehicle drew energy">It lists the vehicles that lose most between meter and battery.</${Empty}>`;
  return html`
    <table class="plain">
      <thead><tr><th scope="col">Vehicle</th><th scope="col">Efficiency</th><th scope="col" class="number">AC</th><th scope="col" class="p2">Warnings</th></tr></thead>
      <tbody>${items.map(({ vehicleId, efficiency, kwhConsumedAc, warnings }) => html`
        <tr key=${vehicleId}>
          <th scope="row"><${DeviceLink} stream="vehicles" id=${vehicleId} /></th>
          <td><${Meter} share=${efficiency} label=${percent(efficiency)} /> <${Value} of=${efficiency} shown=${percent(efficiency)} /></td>
          <td class="number"><${Value} of=${kwhConsumedAc} shown=${number(kwhConsumedAc)} unit="kWh" /></td>
          <td class="p2"><${Warnings} of=${warnings} most=${1} /></td>
        </tr>`)}</tbody>
    </table>`;
}

/** The sessions that are open, those that drew most first; each card follows its vehicle's status. */
function Charging({ site, zone }) {
  const minute = Math.floor(useNow(30) / (5 * MINUTE)) * 5 * MINUTE + 5 * MINUTE;
  const { answer, problem } = useAnswer(url("v1/analytics/sessions", { start: rfc3339(minute - HOUR), end: rfc3339(minute), site, limit: 400 }), 60);
  if (!answer) return html`<${Waiting} problem=${problem} />`;
  const open = answer.items.filter((session) => session.open).sort((one, other) => (other.kwhDeliveredDc ?? 0) - (one.kwhDeliveredDc ?? 0));
  if (!open.length) return html`<${Empty} title="No vehicle charges now">A vehicle charges from 0.1 kW on; a session stays open through pauses of up to 30 minutes.</${Empty}>`;
  return html`
    <p class="sums"><span><${Value} id="open-sessions" of=${open.length} shown=${count(open.length)} /> open ${open.length === 1 ? "session" : "sessions"}${answer.next ? " and more" : ""}</span>${open.length > CARDS && html`<span class="note">The ${CARDS} that took most in the last hour:</span>`}</p>
    <ul class="cards">${open.slice(0, CARDS).map((session) => html`<${Session} key=${session.vehicleId} of=${session} zone=${zone} />`)}</ul>`;
}

function Session({ of: { vehicleId, meterId, start }, zone }) {
  const { answer } = useAnswer(`v1/status/vehicles/${encodeURIComponent(vehicleId)}`);
  return html`
    <li>
      <a href=${deviceAddress("vehicles", vehicleId)}>${vehicleId}</a>
      <span class="big"><${Value} of=${answer?.powerKw} shown=${number(answer?.powerKw, 1)} unit="kW" /></span>
      <span><${Meter} share=${(answer?.soc ?? 0) / 100} label="State of charge" /> <${Value} of=${answer?.soc} shown=${number(answer?.soc, 0)} unit="%" /></span>
      <span class="note">${meterId ? `on ${meterId}` : "on no meter"}, since ${clock(Date.parse(start), zone)}</span>
    </li>`;
}
