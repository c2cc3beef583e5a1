/**
 * Small pictures along a recording, for the bar: WebVTT whose cues name tiles of larger pictures
 * (`sheet.jpg#xywh=x,y,w,h`). The list is fetched when somebody first goes near the bar, each sheet
 * when a moment of it is first pointed at, and neither before: making a sheet costs the server.
 */

export interface Tile {
  /** Seconds of the recording. */
  start: number;
  end: number;
  sheet: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

const TIMES = /^(?:(\d+):)?(\d\d):(\d\d\.\d{3})\s+-->\s+(?:(\d+):)?(\d\d):(\d\d\.\d{3})/;
const PLACE = /^(.+)#xywh=(\d+),(\d+),(\d+),(\d+)$/;

/** The tiles that a list names, in order; sheets are relative to `base`. What isn't a tile is left out. */
export function parse(text: string, base: string): Tile[] {
  const tiles: Tile[] = [];
  for (const block of text.replaceAll("\r\n", "\n").split(/\n{2,}/)) {
    const lines = block.split("\n").filter((line) => line !== "");
    const at = lines.findIndex((line) => TIMES.test(line));
    const times = TIMES.exec(lines[at] ?? "");
    const place = PLACE.exec(lines[at + 1] ?? "");
    if (!times || !place) continue;
    const seconds = (h: string | undefined, m: string | undefined, s: string | undefined): number => Number(h ?? 0) * 3600 + Number(m) * 60 + Number(s);
    const [x = 0, y = 0, width = 0, height = 0] = place.slice(2).map(Number);
    tiles.push({ start: seconds(times[1], times[2], times[3]), end: seconds(times[4], times[5], times[6]), sheet: new URL(place[1] ?? "", base).href, x, y, width, height });
  }
  return tiles;
}

/** The tile of a moment: the last one that has begun by then. */
export function tileAt(tiles: readonly Tile[], seconds: number): Tile | null {
  return tiles.findLast((tile) => tile.start <= seconds + 0.001) ?? tiles[0] ?? null;
}

type Sheet = "loading" | "ready" | "failed";

export class Storyboard {
  readonly #url: string;
  readonly #changed: () => void;
  readonly #sheets = new Map<string, Sheet>();
  #tiles: readonly Tile[] | null = null;
  #asked = false;

  /** `changed`: there is more to show than the last time that `at` was asked. */
  constructor(url: string, changed: () => void) {
    this.#url = url;
    this.#changed = changed;
  }

  /** Somebody may want it soon. */
  prepare(): void {
    if (this.#asked) return;
    this.#asked = true;
    void this.#load();
  }

  /** The tile of a moment, and whether its sheet is there yet; null: there is none to be had. */
  at(seconds: number): { tile: Tile; ready: boolean } | null {
    this.prepare();
    const tile = tileAt(this.#tiles ?? [], seconds);
    if (!tile) return null;
    const sheet = this.#sheets.get(tile.sheet) ?? this.#fetch(tile.sheet);
    return sheet === "failed" ? null : { tile, ready: sheet === "ready" };
  }

  async #load(): Promise<void> {
    try {
      const response = await fetch(this.#url, { priority: "low" });
      if (!response.ok) return; // It has none: the bar does without.
      this.#tiles = parse(await response.text(), response.url);
      this.#changed();
    } catch {
      this.#asked = false; // The connection: the next time may be better.
    }
  }

  #fetch(url: string): Sheet {
    const image = new Image();
    image.decoding = "async";
    const settle = (as: Sheet): void => {
      this.#sheets.set(url, as);
      this.#changed();
    };
    image.addEventListener("load", () => settle("ready"));
    image.addEventListener("error", () => settle("failed"));
    this.#sheets.set(url, "loading");
    image.src = url;
    return "loading";
  }
}
