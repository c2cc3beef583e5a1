import { describe, expect, it } from "vitest";

import { parse, tileAt } from "../app/player/storyboard";

const BASE = "http://localhost:8080/vod/1/storyboard.vtt";
const LIST = `WEBVTT

00:00:00.000 --> 00:00:02.000
storyboard-0.jpg#xywh=0,0,160,90

01:00:02.000 --> 01:00:04.500
storyboard-1.jpg#xywh=160,90,160,90
`;

describe("storyboard", () => {
  it("reads the list", () => {
    expect(parse(LIST, BASE)).toEqual([
      { start: 0, end: 2, sheet: "http://localhost:8080/vod/1/storyboard-0.jpg", x: 0, y: 0, width: 160, height: 90 },
      { start: 3602, end: 3604.5, sheet: "http://localhost:8080/vod/1/storyboard-1.jpg", x: 160, y: 90, width: 160, height: 90 },
    ]);
  });

  it("takes other writers' forms and leaves out what isn't a tile", () => {
    const other = "WEBVTT\r\n\r\nNOTE made elsewhere\r\n\r\n1\r\n00:02.000 --> 00:04.000 align:start\r\n/s.jpg#xywh=1,2,3,4\r\n\r\n00:04.000 --> 00:06.000\r\na word\r\n";
    const tiles = parse(other, BASE);
    expect(tiles).toEqual([{ start: 2, end: 4, sheet: "http://localhost:8080/s.jpg", x: 1, y: 2, width: 3, height: 4 }]);
    expect(parse("", BASE)).toEqual([]);
  });

  it("finds the tile of a moment", () => {
    const tiles = parse(LIST, BASE);
    expect(tileAt(tiles, 0)?.x).toBe(0);
    expect(tileAt(tiles, 1.9)?.x).toBe(0);
    expect(tileAt(tiles, 3602)?.x).toBe(160);
    expect(tileAt(tiles, 1e9)?.x).toBe(160);
    expect(tileAt(tiles, -1)?.x).toBe(0);
    expect(tileAt([], 1)).toBeNull();
  });
});
