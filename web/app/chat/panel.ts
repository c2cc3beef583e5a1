/**
 * The chat beside a broadcast.
 *
 * ```text
 * Connection ──► Store ──► Shell (lines)        Session ──► Connection, Composer
 *      ▲           └─────► pinned, mode, notes
 *      └─ Composer (say)   Tools ──► POST …/acts
 * ```
 */

import { session } from "../account/session";
import { showLogIn } from "../account/dialog";
import { ApiError } from "../api";
import { el, setText } from "../dom";
import { count } from "../format";
import { icon } from "../icons";
import { Announcer } from "./announce";
import { Composer } from "./composer";
import { Connection, type ConnectionEvent, type Phase } from "./connection";
import { EmoteSet } from "./emotes";
import { House, type Rule } from "./house";
import { line, words, type LineActions } from "./line";
import { Shell } from "./shell";
import { modeWords, Store, type Item } from "./store";
import { Tools, type Deed } from "./tools";
import type { Act, ChatMessage, Refused, You } from "./wire";
import { browser, type World } from "./world";

const DRAW_MS = 120;
/** What went wrong with an act is shown for so long. */
const TROUBLE_MS = 6000;
/** Refusals after which writing at once again is of no use. */
const WAITS: ReadonlySet<string> = new Set(["slow", "user_limit", "room_limit", "server_limit", "timed_out"]);

const STATES: Record<Phase, string> = {
  starting: "Connecting…",
  open: "",
  waiting: "Connection lost. Trying again by itself.",
  polling: "Slower connection: messages come in batches.",
  over: "",
  off: "",
};

export class ChatPanel {
  readonly root: HTMLElement;
  readonly #stream_id: string;
  readonly #store = new Store();
  readonly #emotes = new EmoteSet();
  readonly #connection: Connection;
  readonly #shell: Shell<Item>;
  readonly #composer: Composer;
  readonly #tools: Tools;
  readonly #house: House;
  readonly #announcer = new Announcer();
  readonly #state = el("p", { class: "chat-status", role: "status", hidden: true });
  readonly #mode = el("p", { class: "chat-mode", hidden: true });
  readonly #pinned = el("div", { class: "chat-pinned", hidden: true });
  #pinned_shown: ChatMessage | null = null;
  #you: You | null = null;
  #owner: string | null = null;
  #trouble = "";
  /** Whether what was said before is known. */
  #told = false;
  #hiding: number | undefined;
  /** How many messages had been said when the reader left the end; null: they are there. */
  #left_at: number | null = null;
  #asking = false;
  #drawing: number | undefined;
  #said = 0;

  constructor(stream_id: string, world: World = browser) {
    this.#stream_id = stream_id;
    const actions: LineActions = {
      emotes: this.#emotes,
      me: () => session.user,
      retry: ({ client_id }) => this.#say(this.#store.dismiss(client_id)),
      dismiss: ({ client_id }) => {
        this.#composer.give(this.#store.dismiss(client_id));
        this.#changed();
      },
    };
    this.#shell = new Shell<Item>("Chat", {
      items: () => this.#store.items,
      render: (item) => line(item, actions),
      older: () => void this.#older(),
      moved: (at_end) => this.#moved(at_end),
    });
    this.root = this.#shell.root;
    this.#composer = new Composer({ say: (message) => this.#say(message), login: showLogIn, talkers: () => this.#store.talkers(), emotes: this.#emotes });
    this.#tools = new Tools(
      (deed) => void this.#act(deed),
      () => this.#release(),
    );
    this.#house = new House(
      () => this.#store.mode,
      (rule) => void this.#act(rule),
    );
    this.#shell.offer(this.#house.button);
    this.#shell.top.append(this.#state, this.#mode, this.#pinned);
    this.#shell.foot.append(this.#composer.root);
    this.root.append(this.#house.menu, this.#tools.menu, this.#announcer.root);
    this.#connection = new Connection(stream_id, session.token, world, (event) => this.#take(event));
    this.#store.me = session.user;
    session.onChange(() => this.#onSession());
    window.addEventListener("online", () => this.#connection.wake());
    this.#pointing();
    this.#connection.start();
  }

  /** Whose channel it is, by which a page without a socket knows who moderates. */
  owned(owner: string | null): void {
    this.#owner = owner;
  }

  // ---- what comes ----

  #take(event: ConnectionEvent): void {
    const store = this.#store;
    switch (event.type) {
      case "phase":
        if (event.phase !== "open") this.#you = null;
        if (event.phase === "off") this.root.hidden = true;
        break;
      case "history":
        this.#appear();
        store.history(event.messages, event.more);
        this.#told = true;
        break;
      case "record":
        store.apply(event.record);
        if (event.record.type === "message") this.#hear(event.record);
        else this.#obey(event.record.act);
        break;
      case "reset":
        store.reset();
        break;
      case "room":
        store.room(event.room);
        break;
      case "viewers":
        store.viewers = event.viewers;
        break;
      case "you":
        this.#you = event.you;
        break;
      case "accepted":
        store.accepted(event.client_id, event.seq);
        if (store.mode.slow_s && !this.#isExempt) this.#composer.wait(store.mode.slow_s);
        break;
      case "refused":
        store.refused(event.client_id, event.refused);
        this.#heed(event.refused);
        break;
      case "signed_out":
        session.over();
        break;
    }
    this.#changed();
  }

  /** There is a chat. */
  #appear(): void {
    if (!this.root.hidden) return;
    this.root.hidden = false;
    void this.#emotes.load().then(() => this.#shell.list.redraw());
    this.#onSession();
  }

  #hear({ user_id, name, message }: ChatMessage): void {
    if (this.root.hidden || this.#shell.folded || user_id === session.user?.user_id) return;
    this.#announcer.add(`${name}: ${message}`);
  }

  #obey(act: Act): void {
    if ("user_id" in act) {
      if (act.kind === "unban" && act.user_id === session.user?.user_id) this.#composer.wait(0);
      this.#gate();
    }
    // What is pinned may be older than what is held.
    if (act.kind === "pin" && this.#store.pinned === null) {
      void this.#connection.older(act.seq + 1).then((history) => {
        const pinned = history?.messages[0];
        if (pinned?.seq !== act.seq) return;
        this.#store.pinned = pinned;
        this.#changed();
      });
    }
  }

  #heed({ code, retry_after_s }: Refused): void {
    if (code === "banned") this.#store.sanction = { until_us: null };
    if (code !== undefined && WAITS.has(code) && retry_after_s) this.#composer.wait(retry_after_s);
    this.#gate();
  }

  // ---- what goes ----

  #say(message: string): void {
    if (message === "") return;
    const client_id = `${Date.now().toString(36)}-${(this.#said += 1)}-${Math.floor(Math.random() * 36 ** 6).toString(36)}`;
    this.#store.sending(client_id, message);
    this.#connection.say(client_id, message);
    this.#shell.list.toEnd();
    this.#changed();
  }

  async #act(deed: Deed | Rule | { kind: "unpin" }): Promise<void> {
    try {
      await session.ask("POST", `/api/streams/${encodeURIComponent(this.#stream_id)}/chat/acts`, deed);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#trouble = `That didn’t work: ${error.message}.`;
      window.clearTimeout(this.#hiding);
      this.#hiding = window.setTimeout(() => {
        this.#trouble = "";
        this.#changed();
      }, TROUBLE_MS);
      this.#changed();
    }
  }

  async #older(): Promise<void> {
    const before = this.#store.oldest;
    if (this.#asking || !this.#store.more || before === null) return;
    this.#asking = true;
    const history = await this.#connection.older(before);
    this.#asking = false;
    // Dropped or cleared meanwhile: what came belongs elsewhere.
    if (!history || this.#store.oldest !== before) return;
    this.#store.history(history.messages, history.more && history.messages.length > 0);
    this.#changed();
  }

  // ---- who ----

  #onSession(): void {
    const user = session.user;
    if (this.#store.me?.user_id !== user?.user_id) {
      this.#you = null;
      this.#store.sanction = null;
      this.#composer.wait(0);
    }
    this.#store.me = user;
    this.#connection.authorize(session.token);
    this.#gate();
    // Whom a message speaks to has changed.
    this.#shell.list.redraw();
  }

  #gate(): void {
    const { sanction } = this.#store;
    if (this.#connection.phase === "over") this.#composer.gate({ kind: "closed", why: "The chat is over." });
    else if (session.user === null) this.#composer.gate({ kind: "login" });
    else if (sanction?.until_us === null) this.#composer.gate({ kind: "closed", why: "You are banned from this chat." });
    else this.#composer.gate({ kind: "open" });
    if (sanction && sanction.until_us !== null) this.#composer.wait((sanction.until_us / 1000 - Date.now()) / 1000);
  }

  get #moderates(): boolean {
    if (this.#you) return this.#you.moderates;
    const user = session.user;
    if (this.#connection.phase !== "polling" || !user) return false;
    return user.roles.includes("admin") || (this.#owner !== null && (user.user_id === this.#owner || user.roles.includes(`moderator:${this.#owner}`)));
  }

  /** Who keeps order isn't slowed down. */
  get #isExempt(): boolean {
    return this.#moderates;
  }

  // ---- moderators' tools ----

  #pointing(): void {
    const { list } = this.#shell;
    const offer = (node: Node | null): void => {
      const at = this.#moderates ? list.itemOf(node) : null;
      if (at?.item.kind === "message" && !at.item.removed) this.#tools.offer(at.row, at.item.message);
      else if (node) this.#tools.withdraw();
    };
    list.root.addEventListener("pointerover", (event) => {
      offer(event.target as Node);
      // Lines that run away can't be aimed at.
      if (event.pointerType === "mouse" && this.#moderates) this.#hold(true);
    });
    list.root.addEventListener("pointerleave", () => {
      this.#tools.withdraw();
      this.#release();
    });
    list.root.addEventListener("focusin", (event) => {
      offer(event.target as Node);
      if (this.#moderates && event.target !== list.root) this.#hold(true);
    });
    list.root.addEventListener("focusout", () => queueMicrotask(() => this.#release()));
    list.root.addEventListener("keydown", (event) => {
      if (!this.#moderates) return;
      const at = list.itemOf(document.activeElement);
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key] as -1 | 1 | undefined;
      if (step !== undefined) {
        const row = list.beside(at?.item ?? null, step);
        row?.focus({ preventScroll: true });
        row?.scrollIntoView({ block: "nearest" });
      } else if (event.key === "Enter" && at && event.target === at.row) {
        this.#tools.open(at.row);
      } else {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Nobody aims any more, unless the menu is open or the keyboard is on a row. */
  #release(): void {
    const { root } = this.#shell.list;
    const on_row = document.activeElement !== root && root.contains(document.activeElement) && document.activeElement?.matches(":focus-visible");
    if (!this.#tools.isOpen && !on_row && !root.matches(":hover")) this.#hold(false);
  }

  #hold(held: boolean): void {
    const { list } = this.#shell;
    list.hold(held);
    if (held) this.#left_at ??= this.#store.said;
    else if (list.atEnd) this.#left_at = null;
    this.#changed();
  }

  #moved(at_end: boolean): void {
    this.#store.read(!at_end);
    this.#left_at = at_end ? null : (this.#left_at ?? this.#store.said);
    this.#changed();
  }

  // ---- drawing ----

  #changed(): void {
    this.#shell.list.changed();
    // What is around the lines changes no faster than can be read.
    this.#drawing ??= window.setTimeout(() => this.#draw(), DRAW_MS);
  }

  #draw(): void {
    this.#drawing = undefined;
    const store = this.#store;
    const { phase } = this.#connection;
    if (phase === "over") this.#gate();
    const is_quiet = phase === "open" && this.#told && store.items.length === 0;
    const state = this.#trouble || STATES[phase] || (is_quiet ? "Nothing has been said yet." : "");
    this.#state.hidden = state === "";
    setText(this.#state, state);
    this.#state.toggleAttribute("data-quiet", is_quiet && this.#trouble === "");
    const mode = modeWords(store.mode);
    this.#mode.hidden = mode === null || phase === "over";
    setText(this.#mode, mode ?? "");
    this.#shell.note(store.viewers > 0 && phase !== "over" ? `${count(store.viewers)} here` : "");
    const fresh = this.#left_at === null ? 0 : store.said - this.#left_at;
    if (fresh > 0) this.#shell.newer(`${count(fresh)} new ${fresh === 1 ? "message" : "messages"}`);
    else this.#shell.newer(this.#shell.list.atEnd ? null : "To the newest");
    this.#house.button.hidden = !this.#moderates || this.#shell.folded;
    if (this.#house.button.hidden) this.#house.close(false);
    this.#drawPinned();
  }

  #drawPinned(): void {
    const { pinned } = this.#store;
    const moderates = this.#moderates;
    if (pinned === this.#pinned_shown && this.#pinned.hasAttribute("data-moderates") === moderates) return;
    this.#pinned_shown = pinned;
    this.#pinned.toggleAttribute("data-moderates", moderates);
    this.#pinned.hidden = pinned === null;
    if (!pinned) return this.#pinned.replaceChildren();
    const unpin = el("button", { class: "chat-tool", type: "button", "aria-label": "Unpin", title: "Unpin" }, icon("close"));
    unpin.addEventListener("click", () => void this.#act({ kind: "unpin" }));
    const text = el("p", { class: "chat-pinned-text" }, el("span", { class: "chat-pinned-by", text: `Pinned from ${pinned.name}` }), words(pinned, { emotes: this.#emotes, me: () => session.user }));
    this.#pinned.replaceChildren(icon("pin"), text, ...(moderates ? [unpin] : []));
  }
}
