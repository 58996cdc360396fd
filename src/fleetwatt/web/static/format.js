// Values in words and figures. Nothing here makes HTML: what it returns is text.

import { DAY, formatter, HOUR, MINUTE } from "./times.js";

export const UNKNOWN = "–";

const figures = new Map();

function figure(value, digits) {
  if (!figures.has(digits)) {
    figures.set(digits, new Intl.NumberFormat("en-GB", {
      minimumFractionDigits: digits, maximumFractionDigits: digits,
    }));
  }
  return figures.get(digits).format(value);
}

export function isKnown(value) {
  return value !== null && value !== undefined;
}

export function count(value) {
  return isKnown(value) ? figure(value, 0) : UNKNOWN;
}

/** A number with as many digits as a reader needs of it. */
export function number(value, digits) {
  if (!isKnown(value)) return UNKNOWN;
  return figure(value, digits ?? (Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2));
}

export function percent(share, digits = 1) {
  return isKnown(share) ? `${figure(share * 100, digits)} %` : UNKNOWN;
}

/** Energy: its figure and its unit. */
export function energy(kwh) {
  if (!isKnown(kwh)) return [UNKNOWN, "kWh"];
  if (Math.abs(kwh) >= 10_000) return [number(kwh / 1000, 1), "MWh"];
  return [number(kwh), "kWh"];
}

export function bytes(size) {
  if (!isKnown(size)) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${figure(size, unit && size < 100 ? 1 : 0)} ${units[unit]}`;
}

/** A length of time, in the two largest units that it has. */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 10 ? `${days} d ${hours % 24} h` : `${count(days)} d`;
}

/** How long ago something was, coarse enough not to flicker. */
export function ago(instant, now) {
  const passed = Math.max(0, now - instant);
  if (passed < MINUTE) return `${Math.floor(passed / 1000)} s ago`;
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min ago`;
  if (passed < 2 * DAY) return `${Math.floor(passed / HOUR)} h ago`;
  return `${count(Math.floor(passed / DAY))} d ago`;
}

export function clock(instant, zone) {
  return formatter({ timeZone: zone, hour: "2-digit", minute: "2-digit" }).format(instant);
}

export function dayName(instant, zone) {
  return formatter({ timeZone: zone, weekday: "short", day: "numeric", month: "short" }).format(instant);
}

export function moment(instant, zone) {
  return formatter({
    timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  }).format(instant);
}

/** What each warning means, and what a person does about it. */
export const WARNINGS = {
  no_mapping: ["On no meter", "State which meter it draws from."],
  no_readings: ["No readings", "See whether the device, its gateway and its network live."],
  shared_meter: ["Shared meter", "Nothing to do: its AC energy is its share of the meter."],
  shared_meter_uncertain: ["Uncertain share", "Wait until the vehicles on the meter have reported."],
  counter_reset: ["Register reset", "See whether the meter was replaced; the energy is right either way."],
  implausible_step: ["Implausible rise", "See the register's maximum power; the rise counts as 0."],
  readings_ignored: ["Glitches ignored", "See the device where it happens often."],
  estimated_edge: ["Estimated edge", "Late readings will mend it."],
  efficiency_above_one: ["More DC than AC", "See the mapping: another meter may have fed it."],
  low_coverage: ["Readings missing", "See its gaps, and its reporting interval in the register."],
  unmetered_energy: ["Charged off the meter", "State which meter it was on, if it was one of yours."],
  history_dropped: ["Raw history dropped", "Nothing to do: a part comes from aggregates."],
};

export function warningName(warning) {
  return WARNINGS[warning]?.[0] ?? warning.replaceAll("_", " ");
}
