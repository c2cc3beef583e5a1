import { describe, expect, it } from "vitest";

import { parseAnswer, type Answer, type Column } from "../app/console/ask";
import { cellText, kindOf, playLink, shortText, timeOf, timeText, typeName, unitOf } from "../app/console/columns";
import { csv } from "../app/console/csv";
import { tokens } from "../app/console/highlight";

const TIME = 'Timestamp(µs, "UTC")';
const column = (name: string, type: string, comment: string | null = null): Column => ({ name, type, comment });

describe("columns", () => {
  it("knows what Arrow's types mean", () => {
    expect(["Int64", "UInt8", "Float64", "Decimal128(38, 10)", "Utf8", "LargeUtf8", "Boolean", TIME, "Date32", "List(Int64)", "Interval(MonthDayNano)"].map(kindOf)).toEqual(
      ["number", "number", "number", "number", "text", "text", "flag", "time", "date", "other", "other"],
    );
    expect(["Int64", "Float64", TIME, "Boolean", "List(Int64)"].map(typeName)).toEqual(["integer", "number", "time", "true or false", "list(int64)"]);
  });

  it("finds the unit in a name", () => {
    const unit = (name: string, type = "Float64") => unitOf(column(name, type));
    expect(["duration_us", "keyframe_interval_s_max", "kbps_min", "bitrate_bps", "av_drift_ms", "megabytes", "fps"].map((name) => unit(name))).toEqual(["µs", "s", "kbit/s", "bit/s", "ms", "MB", "fps"]);
    expect(unit("dropped")).toBeNull();
    expect(unit("seconds", "Utf8")).toBeNull();
  });

  it("writes cells", () => {
    expect(cellText(column("bytes", "Int64"), 1234567)).toBe("1,234,567");
    expect(cellText(column("log_offset", "Int64"), 1234567)).toBe("1234567");
    expect(cellText(column("share", "Float64"), 0.00001234)).toBe("1.234e-5");
    expect(cellText(column("gap", "Boolean"), false)).toBe("false");
    expect(cellText(column("at", TIME), "2026-11-21T08:31:02.120000Z")).toBe("2026-11-21 08:31:02.12");
    expect(cellText(column("list", "List(Int64)"), [1, 2n])).toBe('[1,"2"]');
    expect(cellText(column("title", "Utf8"), "")).toBe("");
    expect([null, undefined].map((value) => cellText(column("uri", "Utf8"), value))).toEqual([null, null]);
  });

  it("reads times, and takes those without a zone for UTC", () => {
    expect(timeText("2026-11-21T08:31:00Z")).toBe("2026-11-21 08:31:00");
    expect(timeText("2026-11-21T08:31:00.500")).toBe("2026-11-21 08:31:00.5");
    const at = Date.UTC(2026, 10, 21, 8, 31);
    expect(["2026-11-21T08:31:00Z", "2026-11-21T08:31:00", "2026-11-21T09:31:00+01:00"].map(timeOf)).toEqual([at, at, at]);
    expect(timeOf("2026-11-21")).toBe(Date.UTC(2026, 10, 21));
    expect([null, 5, "soon"].map(timeOf)).toEqual([null, null, null]);
  });

  it("tells play links from other texts", () => {
    expect(playLink("http://other.host:8080/watch/abc?at=2026-11-21T08:31:02.120Z")).toEqual({ href: "/watch/abc?at=2026-11-21T08:31:02.120Z", at: "08:31:02" });
    expect(playLink("https://a/watch/abc")).toEqual({ href: "/watch/abc", at: "" });
    for (const other of ["javascript:alert(1)", "http://a/watch/", "http://a/live/abc", "see http://a/watch/abc", 'http://a/watch/b?at=1&x="', null, 1]) expect(playLink(other)).toBeNull();
  });

  it("shortens what only has to be told apart", () => {
    expect(shortText("019aa3c1-7a10-7cc2-9f1a-4f21c0de9a31")).toBe("…c0de9a31");
    expect(shortText("x".repeat(40), 10)).toBe(`${"x".repeat(9)}…`);
    expect(shortText("720p")).toBe("720p");
  });
});

describe("answers", () => {
  it("keeps whole numbers that a double can't hold, where the browser tells them", () => {
    const { rows } = parseAnswer('{"columns":[],"rows":[{"big":9007199254740993,"us":1795228710182090,"half":0.1234567890123456}]}');
    expect(rows[0]?.["us"]).toBe(1_795_228_710_182_090);
    expect(rows[0]?.["half"]).toBe(0.1234567890123456);
    // Node before 21 doesn't tell.
    expect(["9007199254740993", "9007199254740992"]).toContain(String(rows[0]?.["big"]));
  });

  it("become CSV that a spreadsheet reads", () => {
    const answer: Answer = {
      columns: [column("title", "Utf8"), column("n", "Int64"), column("ok", "Boolean")],
      rows: [
        { title: 'say "hi", twice', n: 1, ok: true },
        { title: "", n: null, ok: null },
        { title: "two\nlines", n: 9007199254740993n, ok: false },
      ],
    };
    expect(csv(answer)).toBe('title,n,ok\r\n"say ""hi"", twice",1,true\r\n"",,\r\n"two\nlines",9007199254740993,false\r\n');
  });
});

describe("highlighting", () => {
  const pieces = (sql: string) => tokens(sql).filter(({ piece }) => piece !== "rest").map(({ piece, text }) => `${piece}:${text}`);

  it("tells the pieces of a statement apart", () => {
    expect(pieces("select count(*) FROM t -- all\nWHERE a = 'it''s' AND \"select\" > 1.5e3")).toEqual([
      "keyword:select", "function:count", "keyword:FROM", "name:t", "comment:-- all", "keyword:WHERE", "name:a", "string:'it''s'", "keyword:AND", 'name:"select"', "number:1.5e3",
    ]);
  });

  it("loses nothing, whatever was typed so far", () => {
    for (const sql of ["", "'", "/* open", "SELECT 'a\nb", "a--", '"', "1.e", "é · 日本 x1", "SELECT '--' /* ' */ -- '\n'"]) {
      expect(tokens(sql).map(({ text }) => text).join("")).toBe(sql);
    }
  });
});
