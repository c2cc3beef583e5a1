/** An answer as CSV (RFC 4180): values as the server gave them, null as an empty field. */

import type { Answer, Cell } from "./ask";

export function csv({ columns, rows }: Answer): string {
  const lines = [columns.map(({ name }) => field(name)).join(",")];
  for (const row of rows) lines.push(columns.map(({ name }) => field(row[name] ?? null)).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

function field(value: Cell): string {
  if (value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) : String(value);
  // An empty text is quoted, to be told from null.
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Hands a text to the viewer as a file. */
export function download(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read by then.
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
