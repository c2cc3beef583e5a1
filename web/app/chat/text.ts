/**
 * Texts of chat, by their characters: code points, as the server counts them. What a viewer
 * writes is one line.
 */

import type { EmoteRange } from "./wire";

export const MESSAGE_CHARS_MAX = 500;

/** Its characters; an emoji outside the basic plane is one, not two. */
export const characters = (text: string): string[] => Array.from(text);

/** How many characters a message has, as the server will count it. */
export const length = (text: string): number => characters(oneLine(text).normalize("NFC")).length;

/** What is pasted may have lines; a message has one. */
export const oneLine = (text: string): string => text.replace(/\s*[\r\n\u2028\u2029]+\s*/g, " ").trim();

export type Piece = { kind: "text" | "mention"; text: string } | { kind: "emote"; id: string; text: string };

/** Takes a message apart; `me` makes its mentions of that name pieces of their own. */
export function pieces(message: string, emotes: readonly EmoteRange[] = [], me: string | null = null): Piece[] {
  const found: Piece[] = [];
  const add = (text: string): void => {
    if (text !== "") found.push(...mentions(text, me));
  };
  if (emotes.length === 0) {
    add(message);
    return found;
  }
  const all = characters(message);
  let at = 0;
  for (const { start, end, id } of emotes) {
    // Ranges come in order; one that doesn't is left as it was written.
    if (start < at || end <= start || end > all.length) continue;
    add(all.slice(at, start).join(""));
    found.push({ kind: "emote", id, text: all.slice(start, end).join("") });
    at = end;
  }
  add(all.slice(at).join(""));
  return found;
}

/** Whether a message speaks to somebody. */
export const isMentioned = (message: string, me: string | null): boolean => me !== null && mentions(message, me).some(({ kind }) => kind === "mention");

function mentions(text: string, me: string | null): Piece[] {
  if (me === null || !text.includes("@")) return [{ kind: "text", text }];
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(/@[\p{L}\p{M}\p{N}_-]+/gu)) {
    if (match[0].slice(1).toLowerCase() !== me.toLowerCase()) continue;
    if (match.index > at) found.push({ kind: "text", text: text.slice(at, match.index) });
    found.push({ kind: "mention", text: match[0] });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ kind: "text", text: text.slice(at) });
  return found;
}
