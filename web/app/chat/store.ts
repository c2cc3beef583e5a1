/**
 * What is shown of a room: its messages in order, what moderators did to them, and one's own that
 * are on their way.
 *
 * Enters: records and histories, in any overlap; answers to what was said. Leaves: `items`, oldest
 * first; an item that changes is replaced, so equal means unchanged. Held: the newest
 * `LINES_MAX` while the reader is at the end. Who reads further up keeps what is read: up to
 * `READING_MAX`, and beyond it what is new waits in a tail of its own until the reader comes back
 * to the end.
 */

import type { Act, ChatAct, ChatMessage, ChatRecord, Mode, Refused, Room } from "./wire";

export const LINES_MAX = 2000;
export const READING_MAX = 4000;
const TAIL_MAX = 500;
/** Dropped at once, so that not every message moves all the others. */
const SLACK = 100;
/** Deletions remembered for a history that was written before them. */
const DELETED_MAX = 1000;
/** Lines searched for who talked lately. */
const TALKERS_LINES = 400;

export interface MessageItem {
  kind: "message";
  key: string;
  seq: number;
  message: ChatMessage;
  /** A moderator took it back: its text is gone. */
  removed: boolean;
  /** One's own, said on this page. */
  delivery: "sending" | "delivered" | null;
}

export interface NoticeItem {
  kind: "notice";
  key: string;
  seq: number;
  text: string;
}

/** One's own message that isn't in the room. */
export interface OwnItem {
  kind: "own";
  key: string;
  client_id: string;
  message: string;
  state: "sending" | "delivered" | "refused";
  /** Why it was refused, for its author. */
  reason: string;
}

export type Item = MessageItem | NoticeItem | OwnItem;
type Line = MessageItem | NoticeItem;

interface Outgoing {
  item: OwnItem;
  /** Its number in the room, once the server has told. */
  seq: number | null;
  /** The number of a message that is most likely it: it came before the server's answer. */
  likely: number | null;
}

/** What may not be done by whom, as far as this page was told. */
export interface Sanction {
  /** Null: for good. In microseconds since 1970. */
  until_us: number | null;
}

export class Store {
  #lines: Line[] = [];
  #tail: Line[] = [];
  #frozen = false;
  #reading = false;
  readonly #outgoing = new Map<string, Outgoing>();
  readonly #deleted = new Set<number>();
  #cleared_before = 0;
  /** Whom one is; their messages are one's own. */
  me: { user_id: string; name: string } | null = null;
  mode: Mode = {};
  pinned: ChatMessage | null = null;
  viewers = 0;
  /** Older messages can be asked for. */
  more = false;
  /** Messages that were told as they were said, ever: how many are new is a difference. */
  said = 0;
  /** What moderators did to oneself. */
  sanction: Sanction | null = null;

  get items(): Item[] {
    const own = [...this.#outgoing.values()].filter(({ likely }) => likely === null).map(({ item }) => item);
    return [...this.#lines, ...own];
  }

  get oldest(): number | null {
    return this.#lines[0]?.seq ?? null;
  }

  /** Who talked lately, the latest first, each once. */
  talkers(): string[] {
    const names = new Set<string>();
    for (const line of [...this.#tail, ...this.#lines.slice(-TALKERS_LINES)].reverse()) {
      if (line.kind === "message" && line.message.user_id !== this.me?.user_id) names.add(line.message.name);
    }
    return [...names];
  }

  apply(record: ChatRecord): void {
    if (record.type === "message") {
      this.said += 1;
      this.#append(this.#messageItem(record));
      this.#meet(record);
    } else {
      this.#act(record);
    }
  }

  /** Messages from the history, wherever they belong. */
  history(messages: readonly ChatMessage[], more: boolean): void {
    const known = new Set([...this.#lines, ...this.#tail].map(({ seq }) => seq));
    const older = messages.filter(({ seq }) => !known.has(seq) && !this.#isGone(seq)).map((message) => this.#messageItem(message));
    const oldest = messages.at(-1)?.seq ?? 0;
    if (oldest <= (this.oldest ?? Infinity)) this.more = more;
    this.#lines = [...older, ...this.#lines].sort((a, b) => a.seq - b.seq);
    // Who reads far up goes on reading; what is newest can be had again.
    if (this.#reading && this.#lines.length > READING_MAX) {
      this.#freeze();
      this.#lines.length = READING_MAX;
    }
    for (const message of messages) this.#meet(message);
  }

  room(room: Room): void {
    this.mode = room.mode;
    this.pinned = room.pinned;
    this.viewers = room.viewers;
  }

  /** A hole that can't be filled: nothing that was shown counts, but one's own goes on. */
  reset(): void {
    this.#lines = [];
    this.#tail = [];
    this.#frozen = false;
    this.more = false;
    for (const outgoing of this.#outgoing.values()) outgoing.likely = null;
  }

  /** The reader is further up, or back at the end. */
  read(reading: boolean): void {
    this.#reading = reading;
    if (reading) return;
    if (this.#frozen) {
      this.#lines = this.#tail;
      this.#tail = [];
      this.#frozen = false;
      this.more = true;
    }
    this.#trim();
  }

  // ---- one's own ----

  sending(client_id: string, message: string): void {
    const item: OwnItem = { kind: "own", key: `own ${client_id}`, client_id, message, state: "sending", reason: "" };
    this.#outgoing.set(client_id, { item, seq: null, likely: null });
  }

  accepted(client_id: string, seq: number): void {
    const outgoing = this.#outgoing.get(client_id);
    if (!outgoing) return;
    if (outgoing.likely !== null && outgoing.likely !== seq) this.#deliver(outgoing.likely, "delivered");
    outgoing.seq = seq;
    outgoing.likely = null;
    outgoing.item = { ...outgoing.item, state: "delivered" };
    const newest = (this.#frozen ? this.#tail : this.#lines).at(-1)?.seq ?? 0;
    // In the room already; or it was, and has been dropped or taken back since.
    if (this.#deliver(seq, "delivered") || newest >= seq) this.#outgoing.delete(client_id);
  }

  refused(client_id: string, { detail }: Refused): void {
    const outgoing = this.#outgoing.get(client_id);
    if (!outgoing) return;
    if (outgoing.likely !== null) this.#deliver(outgoing.likely, null);
    outgoing.likely = null;
    outgoing.item = { ...outgoing.item, state: "refused", reason: detail ?? "The server didn’t take it." };
  }

  /** A refused message isn't to be shown any more. Its text, to try again with. */
  dismiss(client_id: string): string {
    const message = this.#outgoing.get(client_id)?.item.message ?? "";
    this.#outgoing.delete(client_id);
    return message;
  }

  // ---- inside ----

  #messageItem(message: ChatMessage): MessageItem {
    return { kind: "message", key: String(message.seq), seq: message.seq, message, removed: false, delivery: null };
  }

  #append(line: Line): void {
    if (this.#reading && !this.#frozen && this.#lines.length >= READING_MAX) this.#freeze();
    if (this.#frozen) {
      this.#tail.push(line);
      if (this.#tail.length > TAIL_MAX + SLACK) this.#tail.splice(0, this.#tail.length - TAIL_MAX);
      return;
    }
    this.#lines.push(line);
    this.#trim();
  }

  #trim(): void {
    if (this.#reading || this.#lines.length <= LINES_MAX + SLACK) return;
    this.#lines.splice(0, this.#lines.length - LINES_MAX);
    this.more = true;
  }

  #freeze(): void {
    if (this.#frozen) return;
    this.#frozen = true;
    this.#tail = this.#lines.slice(-TAIL_MAX);
  }

  #act({ seq, act }: ChatAct): void {
    switch (act.kind) {
      case "delete":
        this.#deleted.add(act.seq);
        if (this.#deleted.size > DELETED_MAX) this.#deleted.delete(this.#deleted.values().next().value as number);
        this.#change(act.seq, (item) => ({ ...item, removed: true, message: { ...item.message, message: "", emotes: [] } }));
        if (this.pinned?.seq === act.seq) this.pinned = null;
        return;
      case "clear":
        this.#cleared_before = seq;
        this.#lines = [];
        this.#tail = [];
        this.more = false;
        this.pinned = null;
        break;
      case "pin":
        this.pinned = this.#find(act.seq)?.message ?? null;
        return;
      case "unpin":
        this.pinned = null;
        return;
      case "mode":
        this.mode = act.mode;
        break;
      case "ban":
      case "time_out":
        if (act.user_id === this.me?.user_id) this.sanction = { until_us: act.kind === "ban" ? null : act.until_us };
        break;
      case "unban":
        if (act.user_id === this.me?.user_id) this.sanction = null;
        break;
    }
    const text = this.#words(act);
    if (text) this.#append({ kind: "notice", key: `act ${seq}`, seq, text });
  }

  #words(act: Act): string {
    const who = "user_id" in act ? (act.user_id === this.me?.user_id ? "You" : this.#name(act.user_id)) : "";
    switch (act.kind) {
      case "ban":
        return who === "You" ? "You were banned." : `${who} was banned.`;
      case "time_out":
        return who === "You" ? "You were timed out." : `${who} was timed out.`;
      case "unban":
        return `${who} may write again.`;
      case "clear":
        return "The chat was cleared.";
      case "mode":
        return modeWords(act.mode) ?? "Everybody may write again.";
      default:
        return "";
    }
  }

  #name(user_id: string): string {
    const line = [...this.#lines, ...this.#tail].findLast((line) => line.kind === "message" && line.message.user_id === user_id);
    return line?.kind === "message" ? line.message.name : "Somebody";
  }

  #isGone(seq: number): boolean {
    return seq < this.#cleared_before || this.#deleted.has(seq);
  }

  /** A message came: it may be one of one's own that is on its way. */
  #meet(message: ChatMessage): void {
    if (this.#outgoing.size === 0) return;
    for (const [client_id, outgoing] of this.#outgoing) {
      if (outgoing.seq !== message.seq) continue;
      this.#outgoing.delete(client_id);
      this.#deliver(message.seq, "delivered");
      return;
    }
    if (message.user_id !== this.me?.user_id) return;
    // Viewers needn't wait for the disk, its author's answer does: it may be here before it.
    for (const outgoing of this.#outgoing.values()) {
      const { item, likely, seq } = outgoing;
      if (item.state !== "sending" || likely !== null || seq !== null || !isSame(item.message, message.message)) continue;
      outgoing.likely = message.seq;
      this.#deliver(message.seq, "sending");
      return;
    }
  }

  #deliver(seq: number, delivery: MessageItem["delivery"]): boolean {
    return this.#change(seq, (item) => ({ ...item, delivery }));
  }

  #find(seq: number): MessageItem | null {
    for (const lines of [this.#lines, this.#tail]) {
      const line = lines[search(lines, seq)];
      if (line?.seq === seq && line.kind === "message") return line;
    }
    return null;
  }

  #change(seq: number, change: (item: MessageItem) => MessageItem): boolean {
    let found = false;
    for (const lines of [this.#lines, this.#tail]) {
      const at = search(lines, seq);
      const line = lines[at];
      if (line?.seq !== seq || line.kind !== "message") continue;
      lines[at] = change(line);
      found = true;
    }
    return found;
  }
}

/** What a mode asks of who wants to write; null: nothing. */
export function modeWords({ slow_s, followers_s, subscribers }: Mode): string | null {
  const words = [];
  if (slow_s) words.push(`Slow mode: one message every ${span(slow_s)}.`);
  if (subscribers) words.push("Only subscribers may write.");
  if (typeof followers_s === "number") words.push(followers_s > 0 ? `Only people who have followed for ${span(followers_s)} may write.` : "Only followers may write.");
  return words.length > 0 ? words.join(" ") : null;
}

/** `5 s`, `10 min`, `2 h`, `3 d`. */
export function span(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Where a number is or would be. */
function search(lines: readonly Line[], seq: number): number {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lines[middle]?.seq ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The server trims and composes what is said. */
const isSame = (said: string, heard: string): boolean => said.normalize("NFC").trim() === heard;
