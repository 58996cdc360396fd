// The register's entry of a device: read by all, changed by administrators.

import { change, devicePath, url, useAnswer } from "./api.js";
import { number } from "./format.js";
import { Waiting } from "./parts.js";
import { html, useState } from "./vendor/htm-preact.module.js";

const FIELDS = { name: "", site: "", intervalSeconds: "", maxKw: "" };

export function Entry({ stream, id, registered: { answer, problem, refresh }, mayEdit }) {
  const [isEditing, edit] = useState(false);
  if (!answer) return html`<${Waiting} problem=${problem} />`;
  const entry = answer.items[0];
  if (isEditing) return html`<${Form} stream=${stream} id=${id} entry=${entry} onDone=${() => { edit(false); refresh(); }} />`;
  return html`
    ${entry
      ? html`<dl class="facts">
          <div><dt>Name</dt><dd>${entry.name ?? "–"}</dd></div>
          <div><dt>Site</dt><dd>${entry.site ?? "–"}</dd></div>
          <div><dt>Reports every</dt><dd>${number(entry.intervalSeconds, entry.intervalSeconds % 1 ? 3 : 0)} s</dd></div>
          <div><dt>Maximum power</dt><dd>${number(entry.maxKw, entry.maxKw % 1 ? 2 : 0)} kW</dd></div>
        </dl>`
      : html`<p>It has no entry: it reports every 60 s, and has the service's maximum power.</p>`}
    ${mayEdit
      ? html`<button type="button" class="button" onClick=${() => edit(true)}>${entry ? "Edit the entry" : "Register it"}</button>`
      : html`<p class="note" id="missing-scope">To edit it takes a key of the scope <code>admin</code>, which yours lacks.</p>`}`;
}

function Form({ stream, id, entry, onDone }) {
  const [values, setValues] = useState(entry ? Object.fromEntries(Object.keys(FIELDS).map((name) => [name, entry[name] ?? ""])) : FIELDS);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const sites = useAnswer(url("v1/sites", { limit: 1000 }), 60);
  const set = (name) => (event) => setValues({ ...values, [name]: event.currentTarget.value });
  const act = async (work) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
      onDone();
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const save = (event) => {
    event.preventDefault();
    const figure = (text) => (text === "" ? null : Number(text));
    act(() => change("PUT", devicePath(stream, id), {
      name: values.name.trim() || null,
      site: values.site || null,
      intervalSeconds: figure(values.intervalSeconds),
      maxKw: figure(values.maxKw),
    }));
  };
  const faultOf = (name) => problem?.errors?.find(({ field }) => field === name)?.message;
  const field = (name, label, hint, attributes) => html`
    <label><span>${label}</span><input name=${name} value=${values[name]} onInput=${set(name)} aria-invalid=${Boolean(faultOf(name))} aria-describedby=${`${name}-hint`} ...${attributes} /><span class="note" id=${`${name}-hint`}>${faultOf(name) ?? hint}</span></label>`;
  return html`
    <form class="entry" onSubmit=${save}>
      ${field("name", "Name", "What people call it", { maxlength: 200, autocomplete: "off" })}
      <label><span>Site</span><select name="site" value=${values.site} onChange=${set("site")} aria-describedby="site-hint"><option value="">None</option>${(sites.answer?.items ?? []).map((site) => html`<option key=${site.id} value=${site.id} selected=${site.id === values.site}>${site.name ?? site.id}</option>`)}</select><span class="note" id="site-hint">${faultOf("site") ?? "Where it is"}</span></label>
      ${field("intervalSeconds", "Reports every (s)", "Empty: 60", { type: "number", min: "0.001", step: "any" })}
      ${field("maxKw", "Maximum power (kW)", "Empty: the service's", { type: "number", min: "0.000001", step: "any" })}
      ${problem && html`<p class="problem" role="alert"><strong>${problem.title}</strong>${problem.message !== problem.title && ` ${problem.message}`}</p>`}
      <p class="actions">
        <button class="button primary" disabled=${isBusy}>Save</button>
        <button type="button" class="button" onClick=${onDone}>Cancel</button>
        ${entry && html`<button type="button" class="button danger" disabled=${isBusy} onClick=${() => confirm(`Remove the entry of ${id}? Its readings stay.`) && act(() => change("DELETE", devicePath(stream, id)))}>Remove the entry</button>`}
      </p>
    </form>`;
}
