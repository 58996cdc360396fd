// Operations: what the doctor finds, what is stored and for how long, and the jobs that see to it.

import { useAnswer } from "./api.js";
import { bytes, count, duration, isKnown, moment, number } from "./format.js";
import { Ago, Card, Empty, Level, Tile, Value, Waiting } from "./parts.js";
import { html } from "./vendor/htm-preact.module.js";

const ORDER = { problem: 0, warning: 1, unknown: 2, ok: 3 };

export function Operations({ zone, scopes }) {
  const mayAsk = scopes.includes("admin");
  const doctor = useAnswer(mayAsk ? "v1/admin/doctor" : null, 20);
  const storage = useAnswer(mayAsk ? "v1/admin/storage" : null, 20);
  const ready = useAnswer("readyz", 10);
  if (!mayAsk) {
    return html`<${Empty} title="This takes a key of the scope admin"><span id="missing-scope">Yours has ${scopes.length ? scopes.join(" and ") : "no scope"}. An administrator makes one by <code>fleetwatt keys create --scope admin</code>.</span></${Empty}>`;
  }
  return html`
    <div class="grid">
      ${storage.answer ? html`<${Totals} storage=${storage.answer} ready=${ready} zone=${zone} />` : html`<div class="wide"><${Waiting} problem=${storage.problem} rows=${2} /></div>`}
      <${Card} id="doctor" title="What the doctor finds" wide note=${doctor.answer && html`As of <${Ago} time=${doctor.answer.examinedAt} zone=${zone} />; the same as <code>fleetwatt doctor</code>.`}>
        ${doctor.answer ? html`<${Findings} items=${doctor.answer.items} />` : html`<${Waiting} problem=${doctor.problem} rows=${6} />`}
      </${Card}>
      <${Card} id="stored" title="Storage" wide>
        ${storage.answer ? html`<${Tables} storage=${storage.answer} zone=${zone} />` : html`<${Waiting} problem=${storage.problem} />`}
      </${Card}>
      <${Card} id="jobs" title="Jobs and retention" wide>
        ${storage.answer ? html`<${Policies} storage=${storage.answer} zone=${zone} />` : html`<${Waiting} problem=${storage.problem} />`}
      </${Card}>
    </div>`;
}

function Totals({ storage: { tables, edition, version, postgresql }, ready, zone }) {
  const total = (name) => tables.reduce((sum, table) => sum + (table[name] ?? 0), 0);
  const history = tables.filter(({ kind }) => kind === "history");
  const oldest = history.map((table) => table.oldest).filter(Boolean).sort()[0];
  const size = total("bytes");
  const replica = ready.answer?.replica;
  return html`
    <dl class="tiles wide">
      <${Tile} label="Service" note=${ready.answer?.version ? `fleetwatt ${ready.answer.version}` : null}>${ready.problem ? html`<${Level} of="problem" /> ${ready.problem.title}` : ready.answer ? html`<${Level} of="ok" />` : "…"}</${Tile}>
      <${Tile} label="Database" note=${`TimescaleDB ${version}, ${edition === "apache" ? "Apache" : "Community"} edition`}>PostgreSQL ${postgresql}</${Tile}>
      <${Tile} label="On disk" note=${size < total("bytesUncompressed") ? `${bytes(total("bytesUncompressed"))} without compression` : "nothing compressed yet"}><${Value} id="bytes" of=${size} shown=${bytes(size)} /></${Tile}>
      <${Tile} label="Raw readings" note=${oldest && `since ${moment(Date.parse(oldest), zone)}`}><${Value} id="readings" of=${history.reduce((sum, { rows }) => sum + rows, 0)} shown=${count(history.reduce((sum, { rows }) => sum + rows, 0))} /></${Tile}>
      ${replica && html`<${Tile} label="Replica" note=${isKnown(replica.lagSeconds) ? `${duration(replica.lagSeconds)} behind` : "the primary answers in its place"}><${Level} of=${replica.status === "ok" ? "ok" : "warning"} /></${Tile}>`}
    </dl>`;
}

function Findings({ items }) {
  const sorted = [...items].sort((one, other) => ORDER[one.level] - ORDER[other.level]);
  return html`<ul class="findings">${sorted.map(({ check, level, says, advice }, index) => html`
    <li key=${index} class=${level}><${Level} of=${level} /><div><strong>${check}</strong> ${says}${advice && html`<p class="advice">→ ${advice}</p>`}</div></li>`)}</ul>`;
}

function Tables({ storage: { tables }, zone }) {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-labelledby="stored">
      <table class="plain">
        <thead><tr><th scope="col">Table</th><th scope="col" class="number">Rows</th><th scope="col" class="number">Size</th><th scope="col" class="number">Saved</th><th scope="col" class="number">Bytes a row</th><th scope="col" class="number">Rows a day</th><th scope="col" class="number">Growth a day</th><th scope="col">Chunks</th><th scope="col">From</th></tr></thead>
        <tbody>${tables.map((table) => html`
          <tr key=${table.table}>
            <th scope="row"><code>${table.table}</code></th>
            <td class="number"><${Value} of=${table.rows} shown=${count(table.rows)} /></td>
            <td class="number"><${Value} of=${table.bytes} shown=${bytes(table.bytes)} /></td>
            <td class="number">${table.bytesUncompressed > table.bytes ? `${Math.round(100 * (1 - table.bytes / table.bytesUncompressed))} %` : "–"}</td>
            <td class="number">${number(table.bytesPerRow, 1)}</td>
            <td class="number">${count(table.rowsPerDay)}</td>
            <td class="number">${bytes(table.bytesPerDay)}</td>
            <td>${count(table.chunks)} of ${duration(table.chunkInterval)}${table.compressedChunks ? `, ${count(table.compressedChunks)} compressed` : ""}</td>
            <td>${table.oldest ? moment(Date.parse(table.oldest), zone) : "–"}</td>
          </tr>`)}</tbody>
      </table>
    </div>`;
}

function Policies({ storage: { policies, warnings }, zone }) {
  return html`
    ${warnings.map(({ rule, table, message }) => html`<p key=${rule + table} class="problem"><${Level} of="warning" /> <strong>${rule}</strong> on <code>${table}</code>: ${message}</p>`)}
    ${policies.length
      ? html`<div class="scroll" tabindex="0" role="region" aria-labelledby="jobs">
          <table class="plain">
            <thead><tr><th scope="col">Table</th><th scope="col">Does</th><th scope="col">Every</th><th scope="col">Last run</th><th scope="col">Next run</th></tr></thead>
            <tbody>${policies.map(({ table, kind, does, jobId, every, lastRun, lastStatus, lastError, nextRun }) => html`
              <tr key=${table + kind}>
                <th scope="row"><code>${table}</code></th>
                <td>${does}${jobId ? html` <span class="note">job ${jobId}</span>` : null}</td>
                <td>${isKnown(every) ? duration(every) : "–"}</td>
                <td>${lastRun ? html`<${Ago} time=${lastRun} zone=${zone} /> ` : html`<span class="note">not recorded</span>`}${lastStatus && html`<${Level} of=${lastStatus === "Success" ? "ok" : "problem"} />`}${lastError && html`<p class="advice">${lastError}</p>`}</td>
                <td>${nextRun ? moment(Date.parse(nextRun), zone) : "–"}</td>
              </tr>`)}</tbody>
          </table>
        </div>`
      : html`<${Empty} title="No policy">Nothing is dropped, compressed or refreshed without help here: keep <code>fleetwatt maintain --every 5m</code> running.</${Empty}>`}`;
}
