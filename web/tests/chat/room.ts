/** A room that keeps the contract, without a network: what tests of the connection talk to. */

import type { ConnectionEvent } from "../../app/chat/connection";
import type { ChatMessage, ChatRecord, Mode as Rules } from "../../app/chat/wire";
import type { SocketLike, World } from "../../app/chat/world";

export const message = (seq: number, more: Partial<ChatMessage> = {}): ChatMessage => ({
  type: "message",
  seq,
  message_id: `m${seq}`,
  user_id: `u${seq % 7}`,
  name: `name${seq % 7}`,
  sent_at_us: seq * 1_000_000,
  message: `message ${seq}`,
  ...more,
});

export class Socket implements SocketLike {
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  readonly sent: Record<string, unknown>[] = [];
  closed = false;

  constructor(readonly path: string, readonly onSent: (socket: Socket, said: Record<string, unknown>) => void) {}

  send(text: string): void {
    const said = JSON.parse(text) as Record<string, unknown>;
    this.sent.push(said);
    this.onSent(this, said);
  }

  close(): void {
    this.closed = true;
  }

  tell(said: object): void {
    if (!this.closed) this.onmessage?.({ data: JSON.stringify(said) });
  }

  drop(code = 1006): void {
    if (this.closed) return;
    this.closed = true;
    this.onclose?.({ code });
  }
}

/** What the server does and what is held against it. Timers are the test's, and must be fake ones. */
export class Room implements World {
  readonly visit: string = "";
  records: ChatRecord[] = [];
  readonly sockets: Socket[] = [];
  readonly asked: { path: string; init: RequestInit }[] = [];
  readonly events: ConnectionEvent[] = [];
  epoch = "e1";
  /** The oldest record still held for who comes back. */
  held_from = 1;
  retry_ms = 700;
  mode: "up" | "full" | "down" | "off" = "up";
  over = false;
  rules: Rules = {};
  /** Answers what is said; null: it is taken, but the answer is lost. */
  judge: (said: Record<string, unknown>) => object | null = (said) => this.take(said);
  readonly #taken = new Map<string, number>();

  // ---- the world ----

  socket = (path: string): Socket => {
    const socket = new Socket(path, (from, said) => this.#hear(from, said));
    this.sockets.push(socket);
    setTimeout(() => this.#open(socket), 5);
    return socket;
  };

  readonly fetch = (path: string, init: RequestInit = {}): Promise<Response> => {
    this.asked.push({ path, init });
    return new Promise((resolve, reject) => {
      init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      setTimeout(() => {
        const answer = this.#answer(path, init);
        if (answer) resolve(answer);
        else reject(new TypeError("unreachable"));
      }, 5);
    });
  };

  readonly later = (ms: number, act: () => void): (() => void) => {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  };

  readonly now = (): number => Date.now();
  readonly random = (): number => 0.5;

  // ---- for tests ----

  get live(): Socket | undefined {
    return this.sockets.findLast((socket) => !socket.closed);
  }

  get seqs(): number[] {
    return this.events.flatMap((event) => (event.type === "record" ? [event.record.seq] : []));
  }

  get phases(): string[] {
    return this.events.flatMap((event) => (event.type === "phase" ? [event.phase] : []));
  }

  of<T extends ConnectionEvent["type"]>(type: T): Extract<ConnectionEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<ConnectionEvent, { type: T }> => event.type === type);
  }

  /** Says the next one to all who are there. */
  say(more: Partial<ChatMessage> = {}): number {
    const record = message(this.records.length + 1, more);
    this.records.push(record);
    for (const socket of this.sockets) socket.tell(record);
    return record.seq;
  }

  /** Takes it, once for each client_id. */
  take({ client_id, message: text }: Record<string, unknown>): { type: string; client_id: string; message_id: string; seq: number; sent_at_us: number } {
    const id = String(client_id);
    const seq = this.#taken.get(id) ?? this.say({ message: String(text), user_id: "me" });
    this.#taken.set(id, seq);
    return { type: "accepted", client_id: id, message_id: `m${seq}`, seq, sent_at_us: 1 };
  }

  // ---- inside ----

  #open(socket: Socket): void {
    if (socket.closed) return;
    if (this.mode !== "up") return socket.drop();
    const { seq, recovered } = this.#from(socket.path, "seq");
    socket.tell({ type: "welcome", epoch: this.epoch, seq: this.records.length, recovered, retry_ms: this.retry_ms, mode: this.rules, pinned: null, viewers: 3 });
    if (this.over) return socket.drop(4001);
    for (const record of this.records.slice(recovered ? seq : this.records.length)) socket.tell(record);
  }

  #hear(socket: Socket, said: Record<string, unknown>): void {
    if (said["type"] === "hello") {
      const good = said["token"] === "good";
      socket.tell(good ? { type: "you", user_id: "me", name: "me", roles: [], badges: [], moderates: false } : { type: "refused", status: 401, code: "token", detail: "over" });
    } else {
      const answer = this.judge(said);
      if (answer) socket.tell(answer);
    }
  }

  #from(path: string, name: string): { seq: number; recovered: boolean } {
    const query = new URL(path, "http://room").searchParams;
    const seq = Number(query.get(name) ?? Number.NaN);
    return { seq, recovered: query.get("epoch") !== null && seq + 1 >= this.held_from };
  }

  #answer(path: string, init: RequestInit): Response | null {
    const json = (value: object, status = 200): Response => new Response(JSON.stringify(value), { status });
    if (this.mode === "down") return null;
    if (this.mode === "off") return json({ title: "chat is off", status: 404 }, 404);
    const url = new URL(path, "http://room");
    if (url.pathname.endsWith("/poll")) {
      if (this.over) return json({ title: "over", status: 410 }, 410);
      const { seq, recovered } = this.#from(path, "after");
      return json({ epoch: this.epoch, seq: this.records.length, recovered: recovered || Number.isNaN(seq), mode: this.rules, pinned: null, viewers: 3, records: recovered ? this.records.slice(seq) : [] });
    }
    if (init.method === "POST") {
      const answer = this.judge(JSON.parse(String(init.body)) as Record<string, unknown>) as { status?: number } | null;
      return answer && json(answer, answer.status ?? 201);
    }
    const before = Number(url.searchParams.get("before") ?? Infinity);
    const limit = Number(url.searchParams.get("limit"));
    const all = this.records.filter(({ type, seq }) => type === "message" && seq < before);
    return json({ epoch: this.epoch, messages: all.slice(-limit).reverse(), more: all.length > limit });
  }
}
