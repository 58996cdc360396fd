// Instants, and days and hours of a time zone.

export const MINUTE = 60_000;
export const HOUR = 3_600_000;
export const DAY = 86_400_000;

/** The browser's zone by its IANA name; UTC where it has none. */
export function browserZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return zone && zone !== "Etc/Unknown" ? zone : "UTC";
}

const formats = new Map();

/** A formatter, made once for its options. */
export function formatter(options) {
  const name = JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat("en-GB", options));
  return formats.get(name);
}

/** What the local clock reads, as if it were UTC, in ms. */
function wallClock(instant, zone) {
  const parts = formatter({
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
    hour: "numeric", minute: "numeric", second: "numeric",
  }).formatToParts(instant);
  const read = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(read.year, read.month - 1, read.day, read.hour, read.minute, read.second);
}

/** The instant at which a local clock reads what `wall` is in UTC. */
function instantOf(wall, zone) {
  let instant = wall;
  // Twice, since the offset may differ between the first guess and the instant.
  for (let i = 0; i < 2; i++) instant = wall - (wallClock(instant, zone) - instant);
  return instant;
}

/** The beginning of the local day of an instant, `days` later. */
export function dayOf(instant, zone, days = 0) {
  const wall = wallClock(instant, zone);
  return instantOf(wall - (wall % DAY) + days * DAY, zone);
}

/** The beginning of the local hour of an instant, `hours` later. */
export function hourOf(instant, zone, hours = 0) {
  const wall = wallClock(instant, zone);
  const whole = instant - (wall % HOUR) - (instant % 1000);
  return whole + hours * HOUR;
}

/** An instant as the API takes it. */
export function rfc3339(instant) {
  return new Date(instant).toISOString().replace(".000Z", "Z");
}
