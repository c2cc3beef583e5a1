/** What a connection needs of the world outside: given to it, so that tests have one of their own. */

import { visit } from "../visit";

export interface SocketLike {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface World {
  /** Who this page is to the server's count of viewers; empty: nobody. */
  readonly visit: string;
  /** Opens a socket at a path of the page's own server. */
  socket(path: string): SocketLike;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Does it later; what comes back keeps it from being done. */
  later(ms: number, act: () => void): () => void;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
}

export const browser: World = {
  visit,
  socket: (path) => new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`) as SocketLike,
  fetch: (path, init) => fetch(path, init),
  later(ms, act) {
    const timer = window.setTimeout(act, ms);
    return () => window.clearTimeout(timer);
  },
  now: () => performance.now(),
  random: () => Math.random(),
};
