// One vehicle or meter: its day, week or month, its sessions, mappings and gaps, and its entry.

import { now, url, useAnswer } from "./api.js";
import { Chart } from "./charts.js";
import { Entry } from "./entry.js";
import { clock, count, dayName, duration, energy, isKnown, moment, number, percent } from "./format.js";
import { Ago, Card, Choice, DeviceLink, Empty, Icon, Meter, State, Tile, Value, Waiting, Warnings } from "./parts.js";
import { HOUR, hourOf, MINUTE, rfc3339 } from "./times.js";
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.module.js";

// The newest span ends with the bucket that runs; those before it go back by its length.
const SPANS = { day: ["Day", 24], week: ["Week", 7 * 24], month: ["Month", 31 * 24] }; // hours
// A bucket has to hold at least a reading: the finest of a span that is no shorter than the interval.
const BUCKETS = { day: [["5m", 300], ["15m", 900], ["1h", 3600]], week: [["30m", 1800], ["1h", 3600]], month: [["1h", 3600]] }; // seconds

function useMinute() {
  const minute = () => Math.floor(now() / MINUTE) * MINUTE;
  const [time, setTime] = useState(minute());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setTime(minute()), 5000);
    return () => clearInterval(timer);
  }, []);
  return time;
}

export function Device({ stream, id, zone, scopes, query, setQuery }) {
  const isVehicle = stream === "vehicles";
  const minute = useMinute();
  const kind = Object.hasOwn(SPANS, query.span) ? query.span : "day";
  const back = Math.min(0, Number.parseInt(query.back, 10) || 0);
  const path = `${stream}/${encodeURIComponent(id)}`;
  const status = useAnswer(`v1/status/${path}`);
  const registered = useAnswer(url(`v1/devices/${stream}`, { id }), 60);
  const entry = registered.answer?.items[0];
  const interval = entry?.intervalSeconds ?? 60;
  const [bucket, seconds] = BUCKETS[kind].find(([, length]) => length >= interval) ?? BUCKETS[kind].at(-1);
  const length = SPANS[kind][1] * HOUR;
  const [start, whole] = useMemo(() => {
    const end = hourOf(minute, zone) + (Math.floor((minute % HOUR) / (seconds * 1000)) + 1) * seconds * 1000 + back * length;
    return [end - length, end];
  }, [length, seconds, back, minute, zone]);
  // What lies ahead is not asked about.
  const end = Math.min(whole, minute);
  const asked = { start: rfc3339(start), end: rfc3339(end) };
  const series = useAnswer(url(`v1/analytics/${path}/series`, { ...asked, bucket, tz: zone }));
  const gaps = useAnswer(url(`v1/analytics/${path}/gaps`, { ...asked, limit: 100 }), 30);
  const sessions = useAnswer(isVehicle ? url(`v1/analytics/${path}/sessions`, { ...asked, limit: 1000 }) : null, 15);
  const isUnknown = status.problem?.status === 404 && registered.answer && !entry;
  if (isUnknown) return html`<${Empty} title=${`There is no ${stream.slice(0, -1)} ${id}`}>No reading of it has arrived, and the register has no entry. <a href=${`#/${stream}`}>All ${stream}</a></${Empty}>`;

  const name = kind === "day" ? `${moment(start, zone)} – ${moment(end, zone)}` : `${dayName(start, zone)} – ${dayName(end, zone)}`;
  const go = (more) => setQuery({ ...query, ...more });
  const chooser = html`
    <div class="span">
      <${Choice} label="Span" options=${Object.entries(SPANS).map(([value, [title]]) => [value, title])} chosen=${kind} onChoose=${(span) => go({ span, back: "" })} />
      <button type="button" class="step" aria-label="Earlier" onClick=${() => go({ back: String(back - 1) })}><${Icon} name="back" /></button>
      <span class="span-name" aria-live="polite">${name}</span>
      <button type="button" class="step" aria-label="Later" disabled=${back === 0} onClick=${() => go({ back: String(back + 1) })}><${Icon} name="next" /></button>
    </div>`;
  return html`
    <div class="grid">
      <${Now} stream=${stream} status=${status} zone=${zone} entry=${entry} interval=${interval} />
      <${Card} id="history" title="History" wide actions=${chooser}>
        ${isVehicle && html`<${Sums} id=${id} asked=${asked} />`}
        ${series.answer
          ? html`<${History} isVehicle=${isVehicle} series=${series.answer} bucket=${seconds} range=${[start / 1000, whole / 1000]} zone=${zone} sessions=${sessions.answer?.items ?? []} gaps=${gaps.answer?.items ?? []} />`
          : html`<${Waiting} problem=${series.problem} rows=${8} />`}
      </${Card}>
      ${isVehicle && html`<${Card} id="sessions" title="Charging sessions" wide><${Sessions} sessions=${sessions} zone=${zone} /></${Card}>`}
      <${Card} id="mappings" title=${isVehicle ? "Meters it was on" : "Vehicles that were on it"}><${Mappings} isVehicle=${isVehicle} id=${id} zone=${zone} /></${Card}>
      <${Card} id="gaps" title="Gaps in the span"><${Gaps} gaps=${gaps} zone=${zone} /></${Card}>
      <${Card} id="entry" title="Register entry" wide><${Entry} stream=${stream} id=${id} registered=${registered} mayEdit=${scopes.includes("admin")} key=${id} /></${Card}>
    </div>`;
}

function Now({ stream, status: { answer, problem }, zone, entry, interval }) {
  const name = entry?.name && html`<p class="wide device-name">${entry.name}${entry.site && html` <a class="chip place" href=${`#/?site=${encodeURIComponent(entry.site)}`}>${entry.site}</a>`}</p>`;
  if (!answer) {
    return html`${name}<div class="wide">${problem?.status === 404 ? html`<p><${State} of="silent" /> It is in the register, and no reading has arrived yet.</p>` : html`<${Waiting} problem=${problem} rows=${2} />`}</div>`;
  }
  const isVehicle = stream === "vehicles";
  const isStale = now() - Date.parse(answer.timestamp) > 5000 * interval;
  const register = isVehicle ? answer.kwhDeliveredDc : answer.kwhConsumedAc;
  return html`${name}
    <dl class="tiles wide">
      <${Tile} label="State"><${State} of=${isStale ? "stale" : "reporting"} /><span class="note"><${Ago} time=${answer.timestamp} zone=${zone} /></span></${Tile}>
      ${isVehicle && html`<${Tile} label="State of charge"><${Value} id="soc" of=${answer.soc} shown=${number(answer.soc, 0)} unit="%" />${isKnown(answer.soc) && html`<${Meter} share=${answer.soc / 100} label="State of charge" />`}</${Tile}>`}
      <${Tile} label="Power" note=${answer.charging ? "charging" : isKnown(answer.charging) ? "not charging" : "not known"}><${Value} id="power" of=${answer.powerKw} shown=${number(answer.powerKw, 1)} unit="kW" /></${Tile}>
      ${isVehicle && html`<${Tile} label="Battery"><${Value} id="temperature" of=${answer.batteryTemp} shown=${number(answer.batteryTemp, 1)} unit="°C" /></${Tile}>`}
      ${!isVehicle && html`<${Tile} label="Voltage"><${Value} id="voltage" of=${answer.voltage} shown=${number(answer.voltage, 0)} unit="V" /></${Tile}>`}
      <${Tile} label=${isVehicle ? "DC register" : "AC register"}><${Value} id="register" of=${register} shown=${number(register, 1)} unit="kWh" /></${Tile}>
      ${isVehicle && html`<${Tile} label="On meter">${answer.meterId ? html`<${DeviceLink} stream="meters" id=${answer.meterId} />` : "none"}</${Tile}>`}
    </dl>`;
}

function Sums({ id, asked }) {
  const { answer, problem } = useAnswer(url(`v1/analytics/performance/${encodeURIComponent(id)}`, { ...asked, edges: "interpolated" }), 30);
  if (!answer) return problem?.status === 404 ? null : html`<${Waiting} problem=${problem} rows=${1} />`;
  const [ac, acUnit] = energy(answer.kwhConsumedAc);
  const [dc, dcUnit] = energy(answer.kwhDeliveredDc);
  return html`
    <p class="sums">
      <span>AC <${Value} id="ac" of=${answer.kwhConsumedAc} shown=${ac} unit=${acUnit} /></span>
      <span>DC <${Value} id="dc" of=${answer.kwhDeliveredDc} shown=${dc} unit=${dcUnit} /></span>
      <span>Efficiency <${Value} id="efficiency" of=${answer.efficiency} shown=${percent(answer.efficiency)} /></span>
      <span>Coverage <${Value} id="coverage" of=${answer.vehicleCoverage} shown=${percent(answer.vehicleCoverage, 0)} /></span>
      <${Warnings} of=${answer.warnings} />
    </p>`;
}

function History({ isVehicle, series, bucket, range, zone, sessions, gaps }) {
  const charts = useMemo(() => {
    const { items } = series;
    const points = items.map(({ start }) => Date.parse(start) / 1000);
    const energyOf = isVehicle ? "kwhDeliveredDc" : "kwhConsumedAc";
    // A bucket without a reading is a gap, though the curve has energy there.
    const read = (value) => items.map((item) => (item.readings ? value(item) : null));
    const hoursOf = ({ start, end }) => (Date.parse(end) - Date.parse(start)) / HOUR;
    const power = read((item) => (isKnown(item[energyOf]) ? item[energyOf] / hoursOf(item) : null));
    const when = ({ start, end }) => `${moment(Date.parse(start), zone)} to ${clock(Date.parse(end), zone)}`;
    const odd = ({ ignoredReadings, counterResets }) => [
      ignoredReadings ? `${ignoredReadings} ignored` : null, counterResets ? `${counterResets} register resets` : null,
    ].filter(Boolean);
    const words = (line) => (index) => (items[index].readings ? [when(items[index]), line(index), ...odd(items[index])] : [when(items[index]), "no reading"]);
    const measure = (name, unit, title, digits) => {
      const [least, mean, most] = ["min", "avg", "max"].map((of) => read((item) => item[`${of}${name}`]));
      const show = (value) => number(value, digits);
      return {
        points,
        unit,
        series: [
          { name: `${title}, mean`, unit, kind: "line", colour: "ink", values: mean, show },
          { name: "most", kind: "edge", colour: "ink", values: most, show },
          { name: "least", kind: "edge", colour: "ink", values: least, show },
        ],
        words: words((index) => `${show(mean[index])} ${unit} (${show(least[index])} to ${show(most[index])})`),
        range: (_, low, high) => [Math.floor((low ?? 0) - 1), Math.ceil((high ?? 1) + 1)],
      };
    };
    const list = [];
    if (isVehicle) {
      const soc = read((item) => item.lastSoc);
      list.push({ id: "soc", title: "State of charge", points, unit: "%", range: () => [0, 105], words: words((index) => `${number(soc[index], 1)} %`), series: [{ name: "State of charge", unit: "%", kind: "line", colour: "accent", values: soc, show: (value) => number(value, 1) }] });
    }
    list.push({ id: "power", title: "Power", points, unit: "kW", words: words((index) => `${number(power[index], 1)} kW`), series: [{ name: "Power, mean of the bucket", unit: "kW", kind: "steps", colour: isVehicle ? "dc" : "ac", values: power, show: (value) => number(value, 2) }] });
    list.push(isVehicle ? { id: "temperature", title: "Battery temperature", ...measure("BatteryTemp", "°C", "Battery temperature", 1) } : { id: "voltage", title: "Voltage", ...measure("Voltage", "V", "Voltage", 0) });
    const marked = items.flatMap(({ start, ignoredReadings, counterResets }) => [
      ...(ignoredReadings ? [[Date.parse(start) / 1000, "✕"]] : []), ...(counterResets ? [[Date.parse(start) / 1000, "▼"]] : []),
    ]);
    return { list, marked, isEmpty: !items.some(({ readings }) => readings), ignored: items.reduce((sum, item) => sum + item.ignoredReadings, 0), resets: items.reduce((sum, item) => sum + item.counterResets, 0) };
  }, [series, isVehicle, zone]);
  const seconds = ({ start, end }) => [Date.parse(start) / 1000, Date.parse(end) / 1000];
  // A gap within a bucket would be a hair in the chart; the list below has it.
  const seen = gaps.filter(({ seconds: length }) => length >= bucket);
  const marks = { sessions: sessions.map(seconds), gaps: seen.map(seconds), points: charts.marked };
  if (charts.isEmpty) return html`<${Empty} title="No reading in this span">Choose an earlier one, or a longer one.</${Empty}>`;
  const key = `${sessions.length} ${seen.length} ${sessions.at(-1)?.end} ${seen[0]?.end}`;
  return html`
    ${charts.list.map(({ id, title, points, unit, series: lines, words, range: yRange }) => html`
      <h3 key=${`${id} title`}>${title}</h3>
      <${Chart} key=${`${id} ${key}`} points=${points} series=${lines} range=${range} zone=${zone} unit=${unit} words=${words} yRange=${yRange} marks=${marks} group="device" height=${id === "power" ? 190 : 160} label=${`${title} over the span.`} />`)}
    <p class="note keys">
      ${isVehicle && html`<span><span class="swatch shade" aria-hidden="true"></span>charging session</span>`}
      <span><span class="swatch gap" aria-hidden="true"></span>no readings</span>
      <span id="ignored">✕ ignored readings: <${Value} of=${charts.ignored} shown=${count(charts.ignored)} /></span>
      <span>▼ register resets: <${Value} of=${charts.resets} shown=${count(charts.resets)} /></span>
    </p>`;
}

function Sessions({ sessions: { answer, problem }, zone }) {
  if (!answer) return html`<${Waiting} problem=${problem} />`;
  const items = answer.items.toReversed();
  if (!items.length) return html`<${Empty} title="No charging in this span">A session is charging of at least 0.1 kW; pauses of up to 30 minutes are part of it.</${Empty}>`;
  return html`
    <div class="scroll" tabindex="0" role="region" aria-labelledby="sessions">
      <table class="plain">
        <thead><tr><th scope="col">Start</th><th scope="col">Length</th><th scope="col" class="number">AC</th><th scope="col" class="number">DC</th><th scope="col" class="number">Efficiency</th><th scope="col">SoC</th><th scope="col" class="number">Peak</th><th scope="col">Meter</th><th scope="col">Warnings</th></tr></thead>
        <tbody>${items.map(({ start, end, open, kwhConsumedAc, kwhDeliveredDc, efficiency, firstSoc, lastSoc, peakKw, meterId, warnings }) => html`
          <tr key=${start}>
            <th scope="row">${moment(Date.parse(start), zone)}</th>
            <td>${duration((Date.parse(end) - Date.parse(start)) / 1000)}${open && html` <span class="state reporting"><span aria-hidden="true">●</span> open</span>`}</td>
            <td class="number"><${Value} of=${kwhConsumedAc} shown=${number(kwhConsumedAc)} unit="kWh" /></td>
            <td class="number"><${Value} of=${kwhDeliveredDc} shown=${number(kwhDeliveredDc)} unit="kWh" /></td>
            <td class="number"><${Value} of=${efficiency} shown=${percent(efficiency)} /></td>
            <td>${number(firstSoc, 0)} → ${number(lastSoc, 0)} %</td>
            <td class="number"><${Value} of=${peakKw} shown=${number(peakKw, 1)} unit="kW" /></td>
            <td>${meterId ? html`<${DeviceLink} stream="meters" id=${meterId} />` : "none"}</td>
            <td><${Warnings} of=${warnings} most=${1} /></td>
          </tr>`)}</tbody>
      </table>
    </div>
    <p class="note">Outside of sessions: AC ${number(answer.idle.kwhConsumedAc)} kWh, DC ${number(answer.idle.kwhDeliveredDc)} kWh.${answer.next && ` The first ${count(items.length)} are shown.`}</p>`;
}

function Mappings({ isVehicle, id, zone }) {
  const { answer, problem } = useAnswer(url("v1/mappings", { [isVehicle ? "vehicleId" : "meterId"]: id, limit: 200 }), 30);
  if (!answer) return html`<${Waiting} problem=${problem} />`;
  if (!answer.items.length) return html`<${Empty} title=${isVehicle ? "On no meter yet" : "No vehicle yet"}>Without a mapping no AC energy is the vehicle's.</${Empty}>`;
  const shown = (time, otherwise) => (time ? moment(Date.parse(time), zone) : otherwise);
  return html`<ul class="rows">${answer.items.toReversed().map(({ vehicleId, meterId, validFrom, validTo }) => html`
    <li key=${vehicleId + meterId + validFrom}><${DeviceLink} stream=${isVehicle ? "meters" : "vehicles"} id=${isVehicle ? meterId : vehicleId} /> <span class="note">${shown(validFrom, "from the start")} – ${shown(validTo, "now")}</span></li>`)}</ul>`;
}

function Gaps({ gaps: { answer, problem }, zone }) {
  if (!answer) return html`<${Waiting} problem=${problem} />`;
  if (!answer.items.length) return html`<${Empty} title="No gap">Every reading that was due has arrived.</${Empty}>`;
  return html`<ul class="rows">${answer.items.slice(0, 12).map(({ start, end, seconds, missingReadings }) => html`
    <li key=${start}><strong>${duration(seconds)}</strong> <span class="note">${moment(Date.parse(start), zone)} – ${clock(Date.parse(end), zone)}, ${count(missingReadings)} missing</span></li>`)}</ul>
    ${answer.items.length > 12 && html`<p class="note">The longest 12 of ${count(answer.items.length)}.</p>`}`;
}
