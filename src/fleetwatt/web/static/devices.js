// All vehicles, or all meters: a long table, filtered here and sorted by the server.

import { ask, POLL, url, useAnswer, useNow } from "./api.js";
import { ago, count, number, percent } from "./format.js";
import { Choice, DeviceLink, Empty, Meter, State, Value, Waiting, Warnings } from "./parts.js";
import { Table } from "./table.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.module.js";

const FIRST_PAGE = 200;
const PAGE = 1000;
const STATES = [["", "All"], ["false", "Reporting"], ["true", "Stale"]];
const WARNINGS_KEPT = 300_000;

/** Pages of a list, asked for one after the other; those in sight are asked for again and again. */
function useList(path, parameters, sight) {
  const address = url(path, parameters);
  const [state, setState] = useState({ address, pages: [], problem: null, isWhole: false });
  useEffect(() => {
    let isFollowed = true;
    let timer = null;
    let pages = [];
    const show = (more = {}) => isFollowed && setState({ address, pages, problem: null, isWhole: pages.at(-1)?.next === null, ...more });
    const pageAfter = async (after, limit) => {
      const answer = await ask(url(path, { ...parameters, limit, after }));
      return { after, limit, answer, items: answer.items, next: answer.next };
    };
    const load = async () => {
      while (isFollowed && (!pages.length || pages.at(-1).next)) {
        pages = [...pages, await pageAfter(pages.at(-1)?.next, pages.length ? PAGE : FIRST_PAGE)];
        show();
      }
    };
    const refresh = async () => {
      let first = 0;
      for (let index = 0; index < pages.length && isFollowed; index++) {
        const end = first + pages[index].items.length;
        if (end >= sight.current[0] && first <= sight.current[1]) {
          const { after, limit, answer } = pages[index];
          const page = await pageAfter(after, limit);
          if (page.answer !== answer) {
            pages = pages.with(index, page);
            if (page.next === null) pages = pages.slice(0, index + 1);
            // What follows begins elsewhere now.
            else if (pages[index + 1]) pages = pages.with(index + 1, { ...pages[index + 1], after: page.next });
          }
        }
        first = end;
      }
      await load();
    };
    const look = async () => {
      if (!document.hidden) {
        try {
          await (pages.length ? refresh() : load());
          show();
        } catch (problem) {
          show({ problem });
        }
      }
      if (isFollowed) timer = setTimeout(look, POLL * 1000);
    };
    look();
    return () => {
      isFollowed = false;
      clearTimeout(timer);
    };
  }, [address]);
  return state.address === address ? state : { address, pages: [], problem: null, isWhole: false };
}

/** What the register calls the devices of a stream, by their ids. */
function useNames(stream) {
  const [names, setNames] = useState(new Map());
  useEffect(() => {
    let isFollowed = true;
    (async () => {
      const found = new Map();
      let after = null;
      do {
        const page = await ask(url(`v1/devices/${stream}`, { limit: PAGE, after }));
        for (const { id, name } of page.items) if (name) found.set(id, name);
        after = page.next;
      } while (after && isFollowed);
      if (isFollowed) setNames(found);
    })().catch(() => {}); // The table does without names; the list says what is wrong.
    return () => {
      isFollowed = false;
    };
  }, [stream]);
  return names;
}

/** The last day's warnings of the vehicles in sight, asked for one by one once scrolling rests. */
function useWarnings(ids, isWanted) {
  const known = useRef(new Map());
  const [, show] = useState(0);
  const wanted = ids.join(" ");
  useEffect(() => {
    if (!isWanted) return undefined;
    let isFollowed = true;
    const timer = setTimeout(async () => {
      for (const id of ids) {
        if (!isFollowed) return;
        if (Date.now() - (known.current.get(id)?.at ?? 0) < WARNINGS_KEPT) continue;
        try {
          const { warnings } = await ask(url(`v1/analytics/performance/${encodeURIComponent(id)}`, { edges: "interpolated" }));
          known.current.set(id, { warnings, at: Date.now() });
          show((number) => number + 1);
        } catch {
          return; // The banner says that the service is away; the next look asks again.
        }
      }
    }, 300);
    return () => {
      isFollowed = false;
      clearTimeout(timer);
    };
  }, [wanted, isWanted]);
  return known.current;
}

export function Devices({ stream, site, zone, query, setQuery }) {
  const isVehicle = stream === "vehicles";
  const idName = isVehicle ? "vehicleId" : "meterId";
  const sight = useRef([0, 30]);
  const [inSight, setInSight] = useState([0, 30]);
  const [text, setText] = useState("");
  const list = useList(`v1/status/${stream}`, { site, stale: query.stale, sort: query.sort }, sight);
  const names = useNames(stream);
  const time = useNow();

  const loaded = useMemo(() => list.pages.flatMap(({ items }) => items), [list.pages]);
  const rows = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return loaded;
    return loaded.filter((row) => `${row[idName]} ${names.get(row[idName]) ?? ""} ${row.meterId ?? ""}`.toLowerCase().includes(wanted));
  }, [loaded, text, names]);
  const idsInSight = rows.slice(...inSight).map((row) => row[idName]);
  const warnings = useWarnings(idsInSight, isVehicle);

  const columns = [
    { name: "id", title: isVehicle ? "Vehicle" : "Meter", sort: idName, isHead: true, cell: (row) => html`<${DeviceLink} stream=${stream} id=${row[idName]} name=${names.get(row[idName])} />` },
    { name: "state", title: "State", cell: (row) => html`<${State} of=${stateOf(row, time)} />` },
    isVehicle && { name: "soc", title: "SoC", sort: "soc", className: "soc", cell: ({ soc }) => (soc === null ? "–" : html`<${Meter} share=${soc / 100} label="State of charge" /> <${Value} of=${soc} shown=${number(soc, 0)} unit="%" />`) },
    { name: "power", title: "Power", isNumber: true, cell: ({ powerKw, charging }) => html`${charging && html`<span class="charging" title="Charging"><span aria-hidden="true">⚡</span><span class="hidden">charging</span></span> `}<${Value} of=${powerKw} shown=${number(powerKw, 1)} unit="kW" />` },
    isVehicle && { name: "meter", title: "Meter", className: "p2", cell: ({ meterId }) => (meterId ? html`<${DeviceLink} stream="meters" id=${meterId} />` : "–") },
    isVehicle && { name: "temperature", title: "Battery", sort: "batteryTemp", isNumber: true, className: "p3", cell: ({ batteryTemp }) => html`<${Value} of=${batteryTemp} shown=${number(batteryTemp, 1)} unit="°C" />` },
    !isVehicle && { name: "voltage", title: "Voltage", sort: "voltage", isNumber: true, className: "p2", cell: ({ voltage }) => html`<${Value} of=${voltage} shown=${number(voltage, 0)} unit="V" />` },
    { name: "register", title: "Register", sort: isVehicle ? "kwhDeliveredDc" : "kwhConsumedAc", isNumber: true, className: isVehicle ? "p4" : "p2", cell: (row) => { const kwh = isVehicle ? row.kwhDeliveredDc : row.kwhConsumedAc; return html`<${Value} of=${kwh} shown=${number(kwh, 1)} unit="kWh" />`; } },
    { name: "age", title: "Reported", sort: "ageSeconds", className: "p2 age", cell: ({ timestamp }) => html`<time datetime=${timestamp}>${ago(Date.parse(timestamp), time)}</time>` },
    isVehicle && { name: "warnings", title: "Warnings, 24 h", className: "p3", cell: (row) => html`<${Warnings} of=${warnings.get(row[idName])?.warnings ?? []} most=${1} />` },
  ].filter(Boolean);

  const onSight = (first, end) => {
    sight.current = [first, end];
    setInSight([first, end]);
  };
  const isEmpty = list.isWhole && !loaded.length;
  return html`
    <div class="filters">
      <label class="search"><span class="hidden">Search by id, name or meter</span><input type="search" placeholder="Search by id, name or meter" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></label>
      <${Choice} label="State" options=${STATES} chosen=${query.stale ?? ""} onChoose=${(stale) => setQuery({ ...query, stale })} />
      <p class="note" role="status" id="found">${list.pages.length ? `${count(rows.length)}${list.isWhole ? "" : " and more"} ${rows.length === 1 ? stream.slice(0, -1) : stream}` : ""}</p>
    </div>
    ${list.problem && html`<${Waiting} problem=${list.problem} />`}
    ${!list.pages.length && !list.problem && html`<${Waiting} rows=${12} />`}
    ${isEmpty && html`<${Empty} title=${query.stale || site ? "None is so" : `No ${stream} yet`}>${query.stale || site ? "Choose another state or site." : "A device is here once its first reading has arrived."}</${Empty}>`}
    ${loaded.length > 0 && html`<${Table} caption=${isVehicle ? "Vehicles" : "Meters"} columns=${columns} rows=${rows} keyOf=${(row) => row[idName]} sort=${query.sort ?? idName} onSort=${(sort) => setQuery({ ...query, sort: sort === idName ? "" : sort })} onSight=${onSight} />`}`;
}

function stateOf({ timestamp }, time) {
  return time - Date.parse(timestamp) > 300_000 ? "stale" : "reporting";
}
