/** What is being written: what could be completed at the caret, and what it becomes. Pure. */

export interface Completion {
  kind: "emote" | "name";
  /** Where its colon or at sign is. */
  from: number;
  query: string;
}

/** Shorter than this, a colon is part of a smile. */
const CODE_MIN = 2;

/** What is begun right before the caret: `:wa`, `@an`, or nothing. */
export function completionAt(text: string, caret: number): Completion | null {
  const before = text.slice(0, caret);
  const emote = /(?:^|[\s:]):([A-Za-z0-9_+-]+)$/.exec(before)?.[1];
  if (emote !== undefined && emote.length >= CODE_MIN) return { kind: "emote", from: caret - emote.length - 1, query: emote };
  const name = /(?:^|\s)@([\p{L}\p{M}\p{N}_-]*)$/u.exec(before)?.[1];
  if (name !== undefined) return { kind: "name", from: caret - name.length - 1, query: name };
  return null;
}

/** Puts `inserted` in place of what is between, with a space behind it. */
export function replaced(text: string, from: number, to: number, inserted: string): { text: string; caret: number } {
  const behind = text.slice(to);
  const space = /^\s/.test(behind) ? "" : " ";
  return { text: text.slice(0, from) + inserted + space + behind, caret: from + inserted.length + 1 };
}

/** Names that begin as asked, then those that have it elsewhere; each list in its own order. */
export function matching(names: readonly string[], query: string, count_max: number): string[] {
  const asked = query.toLowerCase();
  const begin = names.filter((name) => name.toLowerCase().startsWith(asked));
  const have = names.filter((name) => !begin.includes(name) && name.toLowerCase().includes(asked));
  return [...begin, ...have].slice(0, count_max);
}
