// The page: its frame, its addresses (`#/vehicles?site=S-1`), and what the key allows.

import { ask, connection, rejectedKey, saveKey, savedKey, url, useAnswer, useNow } from "./api.js";
import { Device } from "./device.js";
import { Devices } from "./devices.js";
import { Fleet } from "./fleet.js";
import { ago } from "./format.js";
import { Operations } from "./operations.js";
import { Icon, Waiting } from "./parts.js";
import { browserZone } from "./times.js";
import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.module.js";

const VIEWS = [["", "Fleet", "fleet"], ["vehicles", "Vehicles", "vehicles"], ["meters", "Meters", "meters"], ["operations", "Operations", "operations"]];
const OLD_AFTER = 30_000; // ms without an answer

/** What the address says: a view, a device, and arguments. */
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  let id = null;
  try {
    id = rest.length ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    // An address that was cut names no device.
  }
  return { view, id, query: Object.fromEntries(new URLSearchParams(query)) };
}

function addressOf({ view, id, query }) {
  const path = [view, id && encodeURIComponent(id)].filter(Boolean).join("/");
  return url(`#/${path}`, query);
}

function usePlace() {
  const [current, move] = useState(place);
  useEffect(() => {
    const moved = () => move(place());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return current;
}

function App() {
  const [permission, setPermission] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [tries, retry] = useState(0);
  const rejection = rejectedKey.use();
  useEffect(() => {
    let isCurrent = true;
    let timer = null;
    ask("v1/key").then(
      (answer) => {
        if (!isCurrent) return;
        rejectedKey.set(null);
        setTrouble(null);
        setPermission(answer);
      },
      (problem) => {
        if (!isCurrent) return;
        setTrouble(problem);
        if (problem.status !== 401) timer = setTimeout(() => retry((number) => number + 1), 3000);
      },
    );
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [tries]);

  const enter = (key) => {
    saveKey(key);
    rejectedKey.set(null);
    setPermission(null);
    setTrouble(null);
    retry((number) => number + 1);
  };
  if (rejection !== null) return html`<${AskForKey} rejection=${savedKey() ? rejection : null} onKey=${enter} />`;
  if (!permission) return trouble ? html`<main class="alone"><h1>fleetwatt</h1><${Waiting} problem=${trouble} /><p class="note">It tries every 3 seconds.</p></main>` : html`<main class="alone"><h1>fleetwatt</h1><${Waiting} /></main>`;
  if (permission.required && !permission.prefix) return html`<${AskForKey} onKey=${enter} />`;
  return html`<${Frame} permission=${permission} onLeave=${() => enter(null)} />`;
}

function AskForKey({ rejection, onKey }) {
  const [key, setKey] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (key.trim()) onKey(key.trim());
  };
  return html`
    <main class="alone">
      <h1><${Brand} /></h1>
      <form onSubmit=${submit}>
        <label><span>API key</span><input id="key" type="password" autocomplete="off" spellcheck="false" value=${key} onInput=${(event) => setKey(event.currentTarget.value)} aria-describedby="key-hint" autofocus /></label>
        <p class="note" id="key-hint">This tab keeps it until it is closed, and nothing else does. <code>fleetwatt keys create --scope read</code> makes one.</p>
        ${rejection && html`<p class="problem" role="alert">${rejection}</p>`}
        <button class="button primary">Open</button>
      </form>
    </main>`;
}

function Brand() {
  return html`<span class="brand"><span class="mark"><${Icon} name="bolt" /></span>fleetwatt</span>`;
}

function Frame({ permission, onLeave }) {
  const { view, id, query } = usePlace();
  const { scopes } = permission;
  const mayRead = scopes.includes("read");
  const sites = useAnswer(mayRead ? url("v1/sites", { limit: 1000 }) : null, 60);
  const heading = useRef();
  const site = sites.answer?.items.find((one) => one.id === query.site);
  const zone = site?.timeZone ?? browserZone();
  const known = VIEWS.find(([name]) => name === view);
  const title = id ?? known?.[1] ?? "Not here";
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${title} · fleetwatt`;
    // A reader hears where a link led; the first view leaves the focus to the browser.
    if (!isFirst.current) heading.current?.focus();
    isFirst.current = false;
  }, [title]);
  const setQuery = (changed) => {
    location.hash = addressOf({ view, id, query: changed });
  };
  const kept = query.site ? { site: query.site } : {};
  return html`
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); heading.current.focus(); }}>Skip to the content</a>
    <nav class="side" aria-label="Views">
      <a class="home" href="#/" aria-label="fleetwatt, the fleet"><${Brand} /></a>
      <ul>${VIEWS.map(([name, label, icon]) => html`<li key=${name}><a href=${addressOf({ view: name, query: kept })} aria-current=${name === view ? "page" : undefined}><${Icon} name=${icon} /><span>${label}</span></a></li>`)}</ul>
      <p class="links"><a href="docs/">API</a></p>
    </nav>
    <div class="body">
      <header class="top">
        <h1 tabindex="-1" ref=${heading} id="content">${id && html`<a class="up" href=${addressOf({ view, query: kept })}>${known?.[1]}</a>`}<span>${title}</span></h1>
        <div class="tools">
          <${Connection} />
          ${view !== "operations" && !id && (sites.answer?.items.length ?? 0) > 0 && html`<label class="site"><span class="hidden">Site</span><select value=${query.site ?? ""} onChange=${(event) => setQuery({ ...query, site: event.currentTarget.value })}><option value="">All sites</option>${sites.answer.items.map((one) => html`<option key=${one.id} value=${one.id} selected=${one.id === query.site}>${one.name ?? one.id}</option>`)}</select></label>`}
          <${Theme} />
          ${permission.required && html`<button type="button" class="tool" onClick=${onLeave} title=${`${permission.prefix}: ${scopes.join(", ")}`}><${Icon} name="key" /><span class="scopes">${scopes.includes("admin") ? "admin" : scopes.join(", ")}</span><span class="hidden">: forget the key</span></button>`}
        </div>
      </header>
      <main>
        <${Trouble} />
        ${!mayRead && view !== "operations"
          ? html`<div class="empty" id="missing-scope"><p><strong>This takes a key of the scope read</strong></p><p>Yours has ${scopes.join(" and ") || "none"}. Use another, by the button above.</p></div>`
          : html`<${View} key=${`${view} ${id}`} view=${view} id=${id} site=${query.site} zone=${zone} scopes=${scopes} query=${query} setQuery=${setQuery} />`}
      </main>
    </div>`;
}

function View({ view, id, ...rest }) {
  if ((view === "vehicles" || view === "meters") && id) return html`<${Device} stream=${view} id=${id} ...${rest} />`;
  if (view === "vehicles" || view === "meters") return html`<${Devices} stream=${view} ...${rest} />`;
  if (view === "operations") return html`<${Operations} ...${rest} />`;
  if (view === "") return html`<${Fleet} ...${rest} />`;
  return html`<div class="empty"><p><strong>Nothing is here</strong></p><p><a href="#/">The fleet</a></p></div>`;
}

/** Whether what is shown is new. */
function Connection() {
  const { lastAnswer, trouble } = connection.use();
  useNow(2);
  const isOld = lastAnswer !== null && Date.now() - lastAnswer > OLD_AFTER;
  const [state, shape, words] = trouble ? ["away", "✕", "Away"] : isOld ? ["old", "◐", "Old"] : ["live", "●", "Live"];
  return html`<span class=${`connection ${state}`} id="connection"><span aria-hidden="true">${shape}</span> ${words}</span>`;
}

function Trouble() {
  const { lastAnswer, trouble } = connection.use();
  useNow(2);
  const isOld = lastAnswer !== null && Date.now() - lastAnswer > OLD_AFTER;
  const words = trouble ?? (isOld ? "No answer has come for a while" : null);
  return html`<div role="status" id="trouble">${words && html`<p class="banner"><strong>${words}.</strong> ${lastAnswer ? `What you see is from ${ago(lastAnswer, Date.now())}.` : ""} The page keeps trying.</p>`}</div>`;
}

const THEMES = { auto: "light", light: "dark", dark: "auto" };

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto");
  const choose = () => {
    const next = THEMES[theme];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("fleetwatt.theme", next);
    } catch {
      // Then the choice lives as long as the page.
    }
    setTheme(next);
  };
  return html`<button type="button" class="tool" onClick=${choose} title="Colours"><${Icon} name="theme" /><span class="hidden">Colours: ${theme}</span></button>`;
}

render(html`<${App} />`, document.getElementById("page"));
