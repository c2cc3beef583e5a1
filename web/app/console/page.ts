/**
 * `/sql`: questions to the lake.
 *
 * ```text
 * gate ─ token ─► catalog (queries, tables) ─┐
 *                 editor ◄── names, queries ─┘
 *                 editor ── statement ──► POST /api/sql ──► table · chart · CSV
 * ```
 *
 * One question at a time; asking anew or cancelling ends the one before. A token that is refused
 * leads back to the gate, with the statement kept.
 */

import { ApiError } from "../api";
import { el, setFlag, setText } from "../dom";
import { ask } from "./ask";
import { catalogPanel, readCatalog, type Catalog } from "./catalog";
import { Editor } from "./editor";
import { gate, storedToken, storeToken } from "./gate";
import { result, type View } from "./result";

/** Nobody reads tenths of a second faster. */
const CLOCK_MS = 100;
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export function consolePage(main: HTMLElement): void {
  document.title = "SQL · Millstream";
  const open = async (token: string): Promise<string | null> => {
    try {
      const catalog = await readCatalog(token);
      storeToken(token);
      main.replaceChildren(new Console(token, catalog, closed).root);
      return null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401 || error.status === 403) return "The server doesn’t accept this token.";
      return `The server says: ${error.message}`;
    }
  };
  const closed = (said: string): void => {
    storeToken(null);
    main.replaceChildren(gate(open, said));
  };
  const token = storedToken();
  if (token === null) main.replaceChildren(gate(open));
  else void open(token).then((wrong) => wrong !== null && closed(wrong));
}

class Console {
  readonly root: HTMLElement;
  readonly #token: string;
  readonly #closed: (said: string) => void;
  readonly #editor: Editor;
  readonly #run = el("button", { class: "action run", type: "button" });
  readonly #status = el("span", { class: "run-status", "aria-hidden": "true" });
  /** The same for screen readers, without the clock. */
  readonly #spoken = el("p", { class: "visually-hidden", role: "status" });
  readonly #answer = el("section", { class: "answer", "aria-label": "Result", "aria-busy": "false" });
  #asking: AbortController | null = null;
  #view: View = "table";

  constructor(token: string, catalog: Catalog, closed: (said: string) => void) {
    this.#token = token;
    this.#closed = closed;
    this.#editor = new Editor(
      () => void this.#ask(),
      () => this.#name(),
    );
    this.#run.addEventListener("click", () => (this.#asking ? this.#asking.abort() : void this.#ask()));
    const side = el("aside", { class: "side", id: "side", "aria-label": "Queries and tables" });
    const fold = el("button", { class: "side-fold", type: "button", "aria-expanded": "false", "aria-controls": "side", text: "Queries and tables" });
    const unfold = (on: boolean): void => {
      setFlag(side, "data-open", on);
      fold.setAttribute("aria-expanded", String(on));
    };
    fold.addEventListener("click", () => unfold(!side.hasAttribute("data-open")));
    side.append(
      ...catalogPanel(catalog, {
        insert: (name) => this.#editor.insert(name),
        run: (sql) => {
          unfold(false);
          this.#editor.replace(sql);
          void this.#ask();
        },
      }),
      el("p", { class: "side-foot" }, el("button", { class: "side-action", type: "button", text: "Forget the token", on: { click: () => this.#leave() } })),
    );
    const key = IS_MAC ? "⌘" : "Ctrl";
    this.root = el(
      "div",
      { class: "console" },
      el("h1", { class: "visually-hidden", text: "SQL console" }),
      fold,
      side,
      el(
        "div",
        { class: "work" },
        el("div", { class: "desk" }, this.#editor.root, el("div", { class: "desk-bar" }, this.#run, this.#status, this.#spoken, el("p", { class: "desk-keys", id: "editor-keys" }, el("kbd", { text: key }), "+", el("kbd", { text: "Enter" }), " runs, ", el("kbd", { text: "Tab" }), " indents, ", el("kbd", { text: "Esc" }), " then ", el("kbd", { text: "Tab" }), " leaves"))),
        this.#answer,
      ),
    );
    this.#answer.append(el("p", { class: "answer-idle", text: "Rows appear here. They are as new as the last second, also of what is on air now." }));
    this.#name();
    queueMicrotask(() => this.#editor.focus());
  }

  #name(): void {
    if (this.#asking) setText(this.#run, "Cancel");
    else setText(this.#run, this.#editor.selection ? "Run selection" : "Run");
    setFlag(this.#run, "data-cancel", this.#asking !== null);
  }

  async #ask(): Promise<void> {
    const sql = this.#editor.statement;
    if (sql === "") {
      this.#say("There is nothing to run yet.");
      return;
    }
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#name();
    this.#say("", "Running");
    this.#answer.setAttribute("aria-busy", "true");
    const began = performance.now();
    const clock = window.setInterval(() => {
      const s = (performance.now() - began) / 1000;
      // A glimpse of a clock before a quick answer would only flicker.
      if (s > 0.3 && !asking.signal.aborted) setText(this.#status, `${s.toFixed(1)} s`);
    }, CLOCK_MS);
    try {
      const answer = await ask(sql, this.#token, asking.signal);
      const took_ms = performance.now() - began;
      this.#answer.replaceChildren(result(answer, took_ms, this.#view, (view) => (this.#view = view)));
      this.#say("", `${answer.rows.length} rows`);
    } catch (error) {
      if (asking.signal.aborted) {
        // Whoever asked anew has a status of their own.
        if (this.#asking === asking) this.#say("Cancelled.");
      } else if (error instanceof ApiError) await this.#refused(error);
      else throw error;
    } finally {
      window.clearInterval(clock);
      if (this.#asking === asking) {
        this.#asking = null;
        this.#answer.setAttribute("aria-busy", "false");
        this.#name();
      }
    }
  }

  #say(shown: string, spoken = shown): void {
    setText(this.#status, shown);
    setText(this.#spoken, spoken);
  }

  async #refused(error: ApiError): Promise<void> {
    this.#say("");
    if (error.status === 401 || (error.status === 403 && !(await this.#isLetIn()))) {
      this.#closed("The server no longer accepts this token.");
      return;
    }
    this.#answer.replaceChildren(
      el("div", { class: "trouble", role: "alert" }, el("h2", { class: "trouble-title", text: heading(error.status) }), el("pre", { class: "trouble-text", text: error.message })),
    );
  }

  /** 403 is also for statements that write: whether it was the token, a harmless question tells. */
  async #isLetIn(): Promise<boolean> {
    try {
      await ask("SELECT 1", this.#token);
      return true;
    } catch (error) {
      return !(error instanceof ApiError && error.status === 403);
    }
  }

  #leave(): void {
    this.#asking?.abort();
    this.#closed("");
  }
}

/** What kind of trouble it is; the server's own words follow. */
export function heading(status: number): string {
  if (status === 0) return "No answer";
  if (status === 400) return "The statement can’t be run";
  if (status === 403) return "Not allowed here";
  if (status === 422) return "Too much for one answer";
  if (status === 503) return "Not possible at the moment";
  return "The query failed";
}
