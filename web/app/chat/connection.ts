/**
 * The line to a room: a socket where there is one, long polling where there is none.
 *
 * ```text
 *            history                 welcome               closed
 * starting ─────────► (dial) ──────────────────► open ──────────────► waiting ─► (dial)
 *     │ 404             │ closed before welcome    │ 4001
 *     ▼                 ▼            200           ▼
 *    off             (poll) ──────────────────► polling ─► (dial) now and then
 *                       │ no answer: waiting       │ 410: over
 * ```
 *
 * Kept: how far the room's count has been followed, as (epoch, seq), and what was said and not yet
 * answered. A record is told once and in order: one that is known already is dropped, and before
 * one that is missing the line is dialled again from where it broke. What can't be had any more
 * is never skipped in silence: `reset` is told, then a history without holes. What was said is sent
 * again under its `client_id` after every reconnection until the server has answered, and the
 * server knows one it has already taken.
 *
 * Nothing here knows the document.
 */

import type { ChatMessage, ChatRecord, FromServer, History, Polled, Position, Refused, Room, You } from "./wire";
import type { SocketLike, World } from "./world";

export type Phase = "starting" | "open" | "waiting" | "polling" | "over" | "off";

export type ConnectionEvent =
  | { type: "phase"; phase: Phase }
  | { type: "record"; record: ChatRecord }
  /** What was told before has a hole behind it that can't be filled: forget it. A history follows. */
  | { type: "reset" }
  | { type: "history"; messages: readonly ChatMessage[]; more: boolean }
  | { type: "room"; room: Room }
  | { type: "viewers"; viewers: number }
  | { type: "you"; you: You }
  | { type: "accepted"; client_id: string; seq: number }
  | { type: "refused"; client_id: string; refused: Refused }
  | { type: "signed_out"; detail: string };

export const HISTORY_LIMIT = 50;
/** A socket that hasn't been welcomed by then won't be. */
const WELCOME_MS = 10_000;
/** Something said is answered by then, or the line is dead. */
const ANSWER_MS = 10_000;
/** The server counts viewers every 30 s: such a silence is a dead line. */
const SILENCE_MS = 75_000;
/** Between attempts as long as no server has said how long; doubled with each failure. */
const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;
/** While polling, a socket is tried this often; doubled with each failure. */
const SOCKET_AGAIN_MS = 60_000;
const SOCKET_AGAIN_MS_MAX = 600_000;
const POLL_WAIT_S = 25;
/** The server answers a poll within its wait; a network that swallows it doesn't. */
const POLL_MS = (POLL_WAIT_S + 15) * 1000;
/** Between polls: where there is always something, each brings many records. */
const POLL_PAUSE_MS = 400;
/** What couldn't be said by POST is said again after so long. */
const POST_AGAIN_MS = 2000;
/** The server's close code: the broadcast is over. */
const CLOSE_OVER = 4001;

export class Connection {
  readonly #path: string;
  readonly #world: World;
  readonly #tell: (event: ConnectionEvent) => void;
  #phase: Phase = "starting";
  #position: Position | null = null;
  #token: string | null;
  /** Said and not answered, by client_id, oldest first. */
  readonly #unanswered = new Map<string, string>();
  #socket: SocketLike | null = null;
  #greeted = false;
  #heard_at = 0;
  #retry_ms: number | null = null;
  #failures = 0;
  #socket_failures = 0;
  #socket_again_at = 0;
  /** Where a record was missing last: missing again means that it can't be had. */
  #missed_at = -1;
  #posting = false;
  /** Every change of mind gets a number; what an older one started is ignored when it comes back. */
  #turn = 0;
  #abort: AbortController | null = null;
  #cancel_deadline: () => void = () => {};
  #cancel_answer: () => void = () => {};

  constructor(stream_id: string, token: string | null, world: World, tell: (event: ConnectionEvent) => void) {
    this.#path = `/api/streams/${encodeURIComponent(stream_id)}/chat`;
    this.#token = token;
    this.#world = world;
    this.#tell = tell;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Looks whether there is a chat at all, and goes on from its newest message. */
  start(): void {
    const turn = this.#next();
    void this.#history(turn).then((history) => {
      if (turn !== this.#turn) return;
      if (history === "off") return this.#enter("off");
      if (history === null) return this.#wait(() => this.start());
      // Nothing was said over there: no column for it.
      if (history.over && history.messages.length === 0) return this.#enter("off");
      this.#position = { epoch: history.epoch, seq: history.messages[0]?.seq ?? 0 };
      this.#tell({ type: "history", messages: history.messages, more: history.more });
      if (history.over) return this.#end();
      this.#dial();
    });
  }

  stop(): void {
    this.#next();
  }

  /** Another token, or none: the line says who it is anew. */
  authorize(token: string | null): void {
    if (token === this.#token) return;
    this.#token = token;
    if (token === null) this.#refuseAll("You are logged out.");
    if (this.#phase === "open") {
      // Nothing takes a greeting back, so another person needs another line.
      if (this.#greeted || token === null) this.#dial();
      else this.#greet();
    } else if (this.#phase === "polling") {
      void this.#post();
    }
  }

  /** Says it now or when the line is back. The answer comes as `accepted` or `refused`. */
  say(client_id: string, message: string): void {
    this.#unanswered.set(client_id, message);
    if (this.#phase === "open" && this.#greeted) this.#send(client_id, message);
    else if (this.#phase === "polling") void this.#post();
    else if (this.#phase === "over") this.#refuseAll("The chat is over.");
  }

  /** The network is back: no need to wait for the next attempt. */
  wake(): void {
    if (this.#phase === "waiting") this.#dial();
  }

  /** Older messages than `before`, newest first; null if they can't be had now. */
  async older(before: number): Promise<History | null> {
    const response = await this.#get(`${this.#path}?before=${before}&limit=${HISTORY_LIMIT}`);
    return response?.ok ? await body<History>(response) : null;
  }

  // ---- the socket ----

  #dial(): void {
    const turn = this.#next();
    const socket = this.#world.socket(`${this.#path}/subscribe${this.#query("seq")}`);
    this.#socket = socket;
    let welcomed = false;
    socket.onmessage = ({ data }) => {
      if (turn !== this.#turn) return;
      const said = parse(data);
      if (!said) return;
      this.#heard_at = this.#world.now();
      if (said.type === "welcome") {
        welcomed = true;
        this.#retry_ms = said.retry_ms;
        this.#arrive("open", said);
        this.#listen(turn);
        this.#greet();
      } else if (welcomed) {
        this.#hear(said);
      }
    };
    socket.onclose = ({ code }) => {
      if (turn !== this.#turn) return;
      this.#socket = null;
      if (code === CLOSE_OVER) this.#end();
      else if (welcomed) this.#wait(() => this.#dial());
      // A browser doesn't tell why an upgrade failed. Polling finds out, or works.
      else this.#fallBack();
    };
    this.#cancel_deadline = this.#world.later(WELCOME_MS, () => {
      if (turn !== this.#turn || welcomed) return;
      this.#fallBack();
    });
  }

  #hear(said: Exclude<FromServer, { type: "welcome" }>): void {
    switch (said.type) {
      case "message":
      case "act":
        this.#take(said);
        break;
      case "viewers":
        this.#tell({ type: "viewers", viewers: said.viewers });
        break;
      case "you":
        this.#greeted = true;
        this.#tell({ type: "you", you: said });
        for (const [client_id, message] of this.#unanswered) this.#send(client_id, message);
        break;
      case "accepted":
        this.#answered(said.client_id);
        this.#tell({ type: "accepted", client_id: said.client_id, seq: said.seq });
        break;
      case "refused":
        if (said.status === 401) this.#signedOut(said.detail);
        else if (said.client_id !== undefined) this.#refuse(said.client_id, said);
        break;
    }
  }

  #greet(): void {
    if (this.#token !== null) this.#socket?.send(JSON.stringify({ type: "hello", token: this.#token }));
  }

  #send(client_id: string, message: string): void {
    this.#socket?.send(JSON.stringify({ type: "say", message, client_id }));
    const turn = this.#turn;
    this.#cancel_answer();
    this.#cancel_answer = this.#world.later(ANSWER_MS, () => {
      if (turn === this.#turn && this.#unanswered.size > 0) this.#dial();
    });
  }

  /** Dials again if nothing is heard any more. */
  #listen(turn: number): void {
    this.#world.later(SILENCE_MS / 2, () => {
      if (turn !== this.#turn) return;
      if (this.#world.now() - this.#heard_at > SILENCE_MS) this.#dial();
      else this.#listen(turn);
    });
  }

  // ---- polling ----

  #fallBack(): void {
    this.#socket_failures += 1;
    const again_ms = Math.min(SOCKET_AGAIN_MS_MAX, SOCKET_AGAIN_MS * 2 ** (this.#socket_failures - 1));
    this.#socket_again_at = this.#world.now() + again_ms * (0.5 + this.#world.random());
    const turn = this.#next();
    // The first answer is wanted at once: it tells whether this works.
    void this.#poll(turn, 0);
  }

  async #poll(turn: number, wait_s: number): Promise<void> {
    const sep = this.#position ? "&" : "?";
    const response = await this.#get(`${this.#path}/poll${this.#query("after")}${sep}wait_s=${wait_s}`, turn);
    if (turn !== this.#turn) return;
    if (response?.status === 404 || response?.status === 410) return this.#end();
    const polled = response?.ok ? await body<Polled>(response) : null;
    if (turn !== this.#turn) return;
    if (!polled) {
      if (response) this.#retry_ms = retryAfter(response) ?? this.#retry_ms;
      return this.#wait(() => this.#dial());
    }
    this.#arrive("polling", polled);
    for (const record of polled.records) this.#take(record);
    if (turn !== this.#turn) return;
    void this.#post();
    if (this.#world.now() >= this.#socket_again_at) return this.#dial();
    this.#world.later(POLL_PAUSE_MS, () => {
      if (turn === this.#turn) void this.#poll(turn, POLL_WAIT_S);
    });
  }

  /** Says by POST what is unanswered, one after the other, so that its order stays. */
  async #post(): Promise<void> {
    if (this.#posting || this.#phase !== "polling") return;
    this.#posting = true;
    for (const [client_id, message] of this.#unanswered) {
      const token = this.#token;
      if (token === null || this.#phase !== "polling") break;
      const response = await this.#get(this.#path, undefined, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ message, client_id }),
      });
      // No answer, or none of the chat's own: what was said stays, for then or for a socket.
      if (!response || response.status === 502 || response.status === 504) {
        this.#world.later(POST_AGAIN_MS, () => void this.#post());
        break;
      }
      const said = await body<{ seq: number } & Refused>(response);
      if (!this.#unanswered.has(client_id)) continue;
      if (response.ok && said) {
        this.#answered(client_id);
        this.#tell({ type: "accepted", client_id, seq: said.seq });
      } else if (response.status === 401) {
        this.#signedOut(said?.detail);
        break;
      } else {
        const retry_after_s = said?.retry_after_s ?? (retryAfter(response) ?? 0) / 1000;
        this.#refuse(client_id, { ...said, type: "refused", status: response.status, ...(retry_after_s > 0 && { retry_after_s }) });
      }
    }
    this.#posting = false;
  }

  // ---- what both have in common ----

  /** The server has said where the room is and whether it goes on from where we were. */
  #arrive(phase: "open" | "polling", said: Room & Position & { recovered: boolean }): void {
    this.#cancel_deadline();
    this.#failures = 0;
    if (phase === "open") this.#socket_failures = 0;
    const known = this.#position;
    if (known && said.recovered) {
      this.#position = { epoch: said.epoch, seq: known.seq };
    } else {
      this.#position = { epoch: said.epoch, seq: said.seq };
      if (known) this.#tell({ type: "reset" });
      if (said.seq > 0) this.#catchUp();
    }
    this.#enter(phase);
    this.#tell({ type: "room", room: { mode: said.mode, pinned: said.pinned, viewers: said.viewers } });
  }

  /** The history up to now; records that come meanwhile fit behind it. */
  #catchUp(): void {
    const turn = this.#turn;
    void this.#history(turn).then((history) => {
      if (turn !== this.#turn || history === "off") return;
      if (history) this.#tell({ type: "history", messages: history.messages, more: history.more });
      else this.#world.later(RETRY_MS * (1 + this.#world.random()), () => turn === this.#turn && this.#catchUp());
    });
  }

  #take(record: ChatRecord): void {
    const known = this.#position;
    if (!known || record.seq <= known.seq) return;
    if (record.seq > known.seq + 1) return this.#miss(known);
    this.#position = { epoch: known.epoch, seq: record.seq };
    this.#tell({ type: "record", record });
  }

  /** A record is missing: asked for once more, and if it can't be had, all is begun anew. */
  #miss(known: Position): void {
    if (this.#missed_at === known.seq) {
      this.#position = null;
      this.#tell({ type: "reset" });
    }
    this.#missed_at = known.seq;
    this.#dial();
  }

  #answered(client_id: string): void {
    this.#unanswered.delete(client_id);
    if (this.#unanswered.size === 0) this.#cancel_answer();
  }

  #refuse(client_id: string, refused: Refused): void {
    this.#answered(client_id);
    this.#tell({ type: "refused", client_id, refused });
  }

  #refuseAll(detail: string): void {
    for (const client_id of [...this.#unanswered.keys()]) this.#refuse(client_id, { type: "refused", status: 0, detail });
  }

  #signedOut(detail = "Your session is over."): void {
    this.#token = null;
    this.#refuseAll(detail);
    this.#tell({ type: "signed_out", detail });
  }

  #end(): void {
    this.#next();
    this.#enter(this.#phase === "starting" && !this.#position ? "off" : "over");
    this.#refuseAll("The chat is over.");
  }

  /** Waits as long as the server said, longer with each failure in a row, and then tries again. */
  #wait(act: () => void): void {
    const turn = this.#next();
    this.#enter("waiting");
    const first_ms = this.#retry_ms ?? RETRY_MS * (0.5 + this.#world.random());
    const wait_ms = Math.min(Math.max(RETRY_MS_MAX, first_ms), first_ms * 2 ** this.#failures);
    this.#failures += 1;
    this.#world.later(wait_ms, () => turn === this.#turn && act());
  }

  #enter(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#tell({ type: "phase", phase });
  }

  /** Ends whatever is going on. */
  #next(): number {
    this.#cancel_deadline();
    this.#cancel_answer();
    this.#abort?.abort();
    this.#abort = null;
    this.#greeted = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(1000);
    }
    return (this.#turn += 1);
  }

  #query(name: "seq" | "after"): string {
    const query = new URLSearchParams();
    if (this.#position) {
      query.set("epoch", this.#position.epoch);
      query.set(name, String(this.#position.seq));
    }
    if (this.#world.visit) query.set("viewer", this.#world.visit);
    return query.size > 0 ? `?${query}` : "";
  }

  /** The newest messages; "off": there is no chat; null: can't be had now. */
  async #history(turn: number): Promise<History | "off" | null> {
    const response = await this.#get(`${this.#path}?limit=${HISTORY_LIMIT}`, turn);
    if (response?.status === 404 || response?.status === 400) return "off";
    return response?.ok ? await body<History>(response) : null;
  }

  /** Null: no answer. With a `turn`, the next one ends it. */
  async #get(path: string, turn?: number, init: RequestInit = {}): Promise<Response | null> {
    const abort = new AbortController();
    if (turn !== undefined) this.#abort = abort;
    const cancel = this.#world.later(POLL_MS, () => abort.abort());
    try {
      return await this.#world.fetch(path, { ...init, signal: abort.signal });
    } catch {
      return null; // unreachable, aborted: whoever asked knows what then
    } finally {
      cancel();
    }
  }
}

function parse(data: unknown): FromServer | null {
  try {
    const said: unknown = JSON.parse(String(data));
    return typeof said === "object" && said !== null && "type" in said ? (said as FromServer) : null;
  } catch {
    return null; // not of the contract; a record that was in it is missed by its number
  }
}

async function body<T>(response: Response): Promise<T | null> {
  try {
    return (await response.json()) as T;
  } catch {
    return null; // cut off, or somebody else's page
  }
}

/** The header Retry-After in milliseconds. */
function retryAfter(response: Response): number | null {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
}
