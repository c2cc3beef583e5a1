/** Questions to `POST /api/sql`, and what comes back. */

import { ApiError, reason } from "../api";

export interface Column {
  name: string;
  /** Arrow's name of it: `Int64`, `Utf8`, `Timestamp(µs, "UTC")` … */
  type: string;
  /** Meaning and unit; null for what a query computed. */
  comment: string | null;
}

/** As JSON has it; whole numbers that a double can't hold are bigints. */
export type Cell = string | number | bigint | boolean | null | object;

export type Row = Readonly<Record<string, Cell>>;

export interface Answer {
  columns: readonly Column[];
  rows: readonly Row[];
}

/**
 * Asks and waits. Aborting the signal closes the connection, at which the server stops the query.
 * Throws an `ApiError`, or an `AbortError` for those who aborted.
 */
export async function ask(sql: string, token: string, signal?: AbortSignal): Promise<Answer> {
  let response: Response;
  let text = "";
  try {
    response = await fetch("/api/sql", {
      method: "POST",
      headers: { accept: "application/json", authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ sql }),
      ...(signal && { signal }),
    });
    if (response.ok) text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server can’t be reached, or it cut the answer off");
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return parseAnswer(text);
}

export function parseAnswer(text: string): Answer {
  // The reviver is slow, and long digits are rare.
  return (/\d{16}/.test(text) ? JSON.parse(text, exact as (key: string, value: unknown) => unknown) : JSON.parse(text)) as Answer;
}

/** Whole numbers beyond 2⁵³ as they were written, where the browser tells (`context.source`). */
function exact(_: string, value: unknown, context?: { source?: string }): unknown {
  const is_rounded = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return is_rounded && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context?.source ?? 0) : value;
}
