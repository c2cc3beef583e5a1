/** SQL in pieces, for colour only: what it gets wrong looks odd and does no harm. Pure. */

export type Piece = "comment" | "string" | "number" | "keyword" | "function" | "name" | "rest";

export interface Token {
  piece: Piece;
  text: string;
}

const KEYWORDS: ReadonlySet<string> = new Set(
  (
    "ALL AND ANY AS ASC BETWEEN BY CASE CAST CROSS DATE DESC DESCRIBE DISTINCT ELSE END EXCEPT EXISTS EXPLAIN FALSE FILTER FIRST FOLLOWING FROM " +
    "FULL GROUP HAVING ILIKE IN INNER INTERSECT INTERVAL IS JOIN LAST LATERAL LEFT LIKE LIMIT NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER " +
    "PARTITION PRECEDING QUALIFY RANGE RIGHT ROW ROWS SELECT SHOW SIMILAR TABLES THEN TIME TIMESTAMP TO TRUE UNBOUNDED UNION UNNEST USING VALUES WHEN " +
    "WHERE WINDOW WITH WITHIN"
  ).split(" "),
);

const PIECES = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|(\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|([A-Za-z_]\w*)/g;

/** The text cut into tokens, none of it lost. */
export function tokens(sql: string): Token[] {
  const found: Token[] = [];
  let done = 0;
  for (const match of sql.matchAll(PIECES)) {
    if (match.index > done) found.push({ piece: "rest", text: sql.slice(done, match.index) });
    done = match.index + match[0].length;
    const [text, comment, string, quoted, number] = match;
    const piece: Piece = comment ? "comment" : string ? "string" : quoted ? "name" : number ? "number" : word(text, sql[done]);
    found.push({ piece, text });
  }
  if (done < sql.length) found.push({ piece: "rest", text: sql.slice(done) });
  return found;
}

function word(text: string, next: string | undefined): Piece {
  if (KEYWORDS.has(text.toUpperCase())) return "keyword";
  return next === "(" ? "function" : "name";
}
