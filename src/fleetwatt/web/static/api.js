// The API as the page uses it: conditional requests, the key, and whether the service answers.

import { useEffect, useState } from "./vendor/htm-preact.module.js";

const KEY = "fleetwatt.key";
const MOST_ANSWERS = 300;
const PATIENCE = 30_000; // ms that an answer may take
const BUSY_RETRIES = 3; // before a service that is busy is a problem
export const POLL = 5; // seconds

/** An answer that is an error, or none at all (status 0). */
export class Problem extends Error {
  constructor(status, title, detail, errors = []) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.errors = errors;
  }
}

/** A value that components follow. */
export class Store {
  constructor(value) {
    this.value = value;
    this.followers = new Set();
  }

  set(value) {
    if (value === this.value) return;
    this.value = value;
    for (const follow of [...this.followers]) follow(value);
  }

  use() {
    const [value, follow] = useState(this.value);
    useEffect(() => {
      follow(this.value);
      this.followers.add(follow);
      return () => this.followers.delete(follow);
    }, []);
    return value;
  }
}

/** When an answer came last, and what is wrong since. */
export const connection = new Store({ lastAnswer: null, trouble: null });
/** Whether the key was rejected, so that the page has to ask for one. */
export const rejectedKey = new Store(null);

const answers = new Map(); // URL -> {tag, body}
const underWay = new Map(); // URL -> promise
let clockAhead = 0; // ms that the server's clock is ahead of ours

/** Now by the server's clock, in ms. */
export function now() {
  return Date.now() + clockAhead;
}

export function savedKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return keyOfThisPage;
  }
}

let keyOfThisPage = null; // where storage is off

/** Keep a key for this tab, or forget it by null. */
export function saveKey(key) {
  keyOfThisPage = key;
  answers.clear();
  underWay.clear();
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Then the key lives as long as the page.
  }
}

/** A path with its arguments; those that are null or empty are left out. */
export function url(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export function devicePath(stream, id) {
  return `v1/devices/${stream}/${encodeURIComponent(id)}`;
}

let questions = Promise.resolve(); // the analytic questions under way, one after the other

/** Ask analytic questions one at a time: a page must not take the connections that others need. */
function inTurn(work) {
  const mine = questions.then(work, work);
  questions = mine.catch(() => {});
  return mine;
}

/**
 * Ask for an answer. The same object comes back while it has not changed.
 * Throws a Problem.
 */
export function ask(address) {
  if (!underWay.has(address)) {
    const fetched = address.startsWith("v1/analytics/") ? inTurn(() => fetchAnswer(address)) : fetchAnswer(address);
    const asked = fetched.finally(() => {
      if (underWay.get(address) === asked) underWay.delete(address);
    });
    underWay.set(address, asked);
  }
  return underWay.get(address);
}

export function lastAnswer(address) {
  return answers.get(address)?.body;
}

async function fetchAnswer(address) {
  const known = answers.get(address);
  const response = await send(address, { headers: known?.tag ? { "If-None-Match": known.tag } : {} });
  if (response.status === 304 && known) return known.body;
  const body = await response.json();
  answers.delete(address);
  answers.set(address, { tag: response.headers.get("ETag"), body });
  if (answers.size > MOST_ANSWERS) answers.delete(answers.keys().next().value);
  return body;
}

/** Change something. Throws a Problem. */
export async function change(method, address, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await send(address, { method, headers, body: body && JSON.stringify(body) });
  answers.clear();
  return response.json();
}

/** Save a list as a file on this machine; a link could not carry the key. */
export async function download(address, name, type) {
  const response = await send(address, { headers: { Accept: type } });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

async function send(address, { method = "GET", headers = {}, body } = {}) {
  const key = savedKey();
  let response;
  try {
    response = await fetch(address, {
      method,
      body,
      // We keep answers and their tags ourselves, and see a 304 as one.
      cache: "no-store",
      credentials: "same-origin",
      headers: { Accept: "application/json", ...headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) },
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    const title = error.name === "TimeoutError" ? "The service does not answer" : "The service can't be reached";
    connection.set({ ...connection.value, trouble: title });
    throw new Problem(0, title);
  }
  const date = Date.parse(response.headers.get("Date"));
  // The header has whole seconds: only a difference of more than that says anything.
  if (Math.abs(date - now()) > 2000) clockAhead = date - Date.now();
  if (response.ok || response.status === 304) {
    connection.set({ lastAnswer: Date.now(), trouble: null });
    return response;
  }
  const problem = await problemOf(response);
  if (response.status >= 502 && response.status <= 504 && !isRecent(connection.value.lastAnswer)) {
    connection.set({ ...connection.value, trouble: problem.title });
  } else if (response.status < 500) {
    connection.set({ lastAnswer: Date.now(), trouble: null });
  }
  if (response.status === 401) rejectedKey.set(problem.message);
  throw problem;
}

/** A service that answered other questions just now is busy, not away. */
function isRecent(time) {
  return time !== null && Date.now() - time < 10_000;
}

async function problemOf(response) {
  try {
    const { title, detail, errors } = await response.json();
    return new Problem(response.status, title, detail, errors);
  } catch {
    return new Problem(response.status, `The service answered ${response.status}`);
  }
}

/**
 * Follow an answer: ask for it now, and every so many seconds while the page is seen; less often
 * where the service takes long, so that it spends a tenth of its time on it at most.
 * Without an address nothing is asked.
 * Returns the answer or undefined, the problem that the newest request had, and a function that asks at once.
 */
export function useAnswer(address, seconds = POLL) {
  const [state, setState] = useState({ address, answer: address && lastAnswer(address), problem: null });
  const [again, askAgain] = useState(0);
  useEffect(() => {
    if (!address) {
      setState({ address, answer: undefined, problem: null });
      return undefined;
    }
    let timer = null;
    let isFollowed = true;
    let failures = 0;
    const look = async () => {
      clearTimeout(timer);
      const started = Date.now();
      if (!document.hidden) {
        try {
          const answer = await ask(address);
          failures = 0;
          if (isFollowed) setState((before) => (before.address === address && before.answer === answer && !before.problem ? before : { address, answer, problem: null }));
        } catch (problem) {
          failures += 1;
          const isBusy = problem.status === 503 && failures <= BUSY_RETRIES;
          if (isFollowed && !isBusy) setState({ address, answer: lastAnswer(address), problem });
        }
      }
      if (isFollowed) timer = setTimeout(look, Math.max(seconds * 1000, 9 * (Date.now() - started)));
    };
    const lookWhenSeen = () => document.hidden || look();
    document.addEventListener("visibilitychange", lookWhenSeen);
    look();
    return () => {
      isFollowed = false;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", lookWhenSeen);
    };
  }, [address, seconds, again]);
  const isCurrent = state.address === address;
  return {
    answer: isCurrent ? state.answer : address ? lastAnswer(address) : undefined,
    problem: isCurrent ? state.problem : null,
    refresh: () => askAgain(again + 1),
  };
}

/** The time, so often that ages read true. */
export function useNow(seconds = 5) {
  const [time, setTime] = useState(now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setTime(now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return time;
}
