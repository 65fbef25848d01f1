import type { PgResource } from "@dataplan/pg";
import { type SQL, sql } from "pg-sql2";
import { markOf } from "../../src/request/reads-of-others.ts";
import { openedRows, peopleOf } from "../reads-of-others.ts";
import { constantSql, type JsonText } from "./json-text.ts";

/** Adds the marks of a row to the object made from it, as its last members; the server takes them out again. */
export function marked(json: JsonText, resource: PgResource, alias: SQL): JsonText {
  const rows = openedRows(resource);
  if (!rows) return json;
  const mark = constantSql(`,"${markOf(rows.relation)}`);
  const members = peopleOf(rows, alias, sql`true`).map(
    ({ id, isMarked }) =>
      sql`case when ${isMarked} then ${mark} || coalesce(${id}::text, '') || ${constantSql('":0')} else '' end`,
  );
  return [...json.slice(0, -1), ...members, "}"];
}
