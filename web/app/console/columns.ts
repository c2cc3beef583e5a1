/** What a column holds, and how its cells read. Pure, so that it can be tested. */

import type { Cell, Column } from "./ask";

export type Kind = "time" | "date" | "number" | "flag" | "text" | "other";

/** What an Arrow type means to a reader. */
export function kindOf(type: string): Kind {
  if (type.startsWith("Timestamp")) return "time";
  if (type.startsWith("Date")) return "date";
  if (/^(U?Int\d|Float|Decimal)/.test(type)) return "number";
  if (type === "Boolean") return "flag";
  if (/^(Large)?Utf8/.test(type)) return "text";
  return "other";
}

/** The kind in a reader's words; what is none of them keeps Arrow's name. */
export function typeName(type: string): string {
  const kind = kindOf(type);
  if (kind === "other") return type.toLowerCase();
  if (kind === "number") return /^U?Int/.test(type) ? "integer" : "number";
  return kind === "flag" ? "true or false" : kind;
}

const UNITS: Readonly<Record<string, string>> = {
  us: "µs",
  ms: "ms",
  s: "s",
  seconds: "s",
  minutes: "min",
  hours: "h",
  bytes: "B",
  megabytes: "MB",
  gigabytes: "GB",
  bps: "bit/s",
  kbps: "kbit/s",
  mbps: "Mbit/s",
  fps: "fps",
  percent: "%",
};

/** The unit that a column's name says (`duration_us`, `kbps_min`); null if it says none. */
export function unitOf(column: Column): string | null {
  if (kindOf(column.type) !== "number") return null;
  const words = column.name.toLowerCase().split("_");
  return words.map((word) => UNITS[word]).findLast((unit) => unit !== undefined) ?? null;
}

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
/** Numbers of things, not amounts: nobody adds them up, so they get no separators. */
const IDENTIFIERS: ReadonlySet<string> = new Set(["log_offset", "log_partition", "msn", "run", "position"]);

export const isIdentifier = (column: Column): boolean => IDENTIFIERS.has(column.name);

/** A cell as text; null where there is nothing. */
export function cellText(column: Column, value: Cell | undefined): string | null {
  if (value === null || value === undefined) return null;
  switch (typeof value) {
    case "number":
    case "bigint":
      return isIdentifier(column) ? String(value) : numberText(value);
    case "boolean":
      return String(value);
    case "object":
      return JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner));
    default:
      return kindOf(column.type) === "time" ? timeText(value) : value;
  }
}

export function numberText(value: number | bigint): string {
  // Six decimals would make nothing of a very small number.
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(3);
  return NUMBER.format(value);
}

/** `2026-11-21T08:31:02.120Z` → `2026-11-21 08:31:02.12`: as SQL takes it, in UTC. */
export function timeText(value: string): string {
  return value
    .replace("T", " ")
    .replace(/(Z|\+00:00)$/, "")
    .replace(/(\.\d*?)0+$/, "$1")
    .replace(/\.$/, "");
}

/** Milliseconds since 1970 of a time or date cell; null if it is none. */
export function timeOf(value: Cell | undefined): number | null {
  if (typeof value !== "string") return null;
  const has_time = value.includes("T");
  const has_zone = /(Z|[+-]\d\d:?\d\d)$/.test(value);
  const ms = Date.parse(has_time && !has_zone ? `${value}Z` : value);
  return Number.isNaN(ms) ? null : ms;
}

export interface PlayLink {
  /** Path and query alone: the server may know itself by another name than the viewer does. */
  href: string;
  /** Time of day of the moment in UTC, or nothing if the link names none. */
  at: string;
}

/** The moment that a `play_url` names; null for any other text. */
export function playLink(value: Cell | undefined): PlayLink | null {
  if (typeof value !== "string" || !/^https?:\/\/[^\s/]+\/(watch|videos)\/[^\s/?]+(\?at=[^\s&]+)?$/.test(value)) return null;
  const url = new URL(value);
  const at = url.searchParams.get("at") ?? "";
  return { href: url.pathname + url.search, at: /T(\d\d:\d\d:\d\d)/.exec(at)?.[1] ?? "" };
}

/** `019aa3c1-…-4f21c0de9a31` → `…c0de9a31`: the end tells broadcasts apart, the beginning is their time. */
export function shortText(value: string, chars_max = 28): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) return `…${value.slice(-8)}`;
  return value.length > chars_max ? `${value.slice(0, chars_max - 1)}…` : value;
}
