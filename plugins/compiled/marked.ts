import type { PgResource } from "@dataplan/pg";
import { type SQL, sql } from "pg-sql2";
import { markedOwner, openedRows } from "../reads-of-others.ts";
import { constantSql, type JsonText } from "./json-text.ts";

/** Adds the mark of a row to the object made from it, as its last member; the server takes it out again. */
export function marked(json: JsonText, resource: PgResource, alias: SQL): JsonText {
  const rows = openedRows(resource);
  if (!rows) return json;
  const { isMarked, mark, owner } = markedOwner(rows, alias, sql`true`);
  const member = sql`case when ${isMarked} then ${constantSql(`,"${mark}`)} || coalesce(${owner}::text, '') || ${constantSql('":0')} else '' end`;
  return [...json.slice(0, -1), member, "}"];
}
