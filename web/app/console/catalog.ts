/** What there is to ask: the named queries, and the tables with their columns and meanings. */

import { el } from "../dom";
import { ask, type Row } from "./ask";
import { typeName } from "./columns";

export interface TableInfo {
  name: string;
  comment: string;
  columns: { name: string; type: string; comment: string; nullable: boolean }[];
}

export interface QueryInfo {
  name: string;
  comment: string;
  sql: string;
}

export interface Catalog {
  tables: TableInfo[];
  queries: QueryInfo[];
}

/** Reads it from the server's own descriptions. Throws as `ask` does. */
export async function readCatalog(token: string): Promise<Catalog> {
  // The first alone: it tells whether the token is good.
  const tables = await ask("SELECT table_name, comment FROM meta.tables", token);
  const [columns, queries] = await Promise.all([
    ask("SELECT table_name, column_name, data_type, is_nullable, comment FROM meta.columns ORDER BY table_name, position", token),
    ask("SELECT query_name, comment, sql FROM meta.queries", token),
  ]);
  const text = (row: Row, name: string): string => String(row[name] ?? "");
  return {
    tables: tables.rows.map((table) => ({
      name: text(table, "table_name"),
      comment: text(table, "comment"),
      columns: columns.rows
        .filter((column) => column["table_name"] === table["table_name"])
        .map((column) => ({ name: text(column, "column_name"), type: text(column, "data_type"), comment: text(column, "comment"), nullable: column["is_nullable"] === true })),
    })),
    queries: queries.rows.map((query) => ({ name: text(query, "query_name"), comment: text(query, "comment"), sql: text(query, "sql") })),
  };
}

export interface Actions {
  /** Puts a name into the statement. */
  insert: (name: string) => void;
  /** Replaces the statement and asks it. */
  run: (sql: string) => void;
}

/** `encoder_health` → `Encoder health`. */
export function title(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function catalogPanel({ tables, queries }: Catalog, actions: Actions): HTMLElement[] {
  return [
    el("h2", { class: "side-title", text: "Queries to start from" }),
    el(
      "ul",
      { class: "side-queries", role: "list" },
      ...queries.map((query) =>
        el(
          "li",
          {},
          el(
            "button",
            { class: "side-query", type: "button", "data-query": query.name, on: { click: () => actions.run(`-- ${query.comment}\n${query.sql}`) } },
            el("span", { class: "side-query-name", text: title(query.name) }),
            el("span", { class: "side-comment", text: query.comment }),
          ),
        ),
      ),
    ),
    el("h2", { class: "side-title", text: "Tables" }),
    ...tables.map((table) => tablePanel(table, actions)),
  ];
}

function tablePanel(table: TableInfo, actions: Actions): HTMLElement {
  const newest = `SELECT *\nFROM ${table.name}\nORDER BY at DESC\nLIMIT 100`;
  return el(
    "details",
    { class: "side-table", "data-table": table.name },
    el("summary", { class: "side-table-name" }, el("span", { class: "side-name", text: table.name })),
    el("p", { class: "side-comment", text: `${table.comment}.` }),
    el(
      "p",
      { class: "side-actions" },
      el("button", { class: "side-action", type: "button", text: "Insert name", on: { click: () => actions.insert(table.name) } }),
      el("button", { class: "side-action", type: "button", text: "Newest rows", on: { click: () => actions.run(newest) } }),
    ),
    el(
      "ul",
      { class: "side-columns", role: "list" },
      ...table.columns.map((column) =>
        el(
          "li",
          {},
          el(
            "button",
            { class: "side-column", type: "button", "data-column": column.name, on: { click: () => actions.insert(column.name) } },
            el("span", { class: "side-name", text: column.name }),
            el("span", { class: "side-type", text: column.nullable ? `${typeName(column.type)} or null` : typeName(column.type) }),
            el("span", { class: "side-comment", text: column.comment }),
          ),
        ),
      ),
    ),
  );
}
