import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";

/**
 * Reads every page of every table, and compares every B-tree index with its table. Needs a server that may be written to, for the
 * extension amcheck.
 * @returns a sentence
 * @throws PlinthError BACKUP_DAMAGED
 */
export async function checkStructure(
  client: pg.Client,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<string> {
  await client.query("create extension if not exists amcheck schema pg_catalog");
  const { rows: relations } = await client.query<{ oid: number; name: string; kind: "r" | "i" }>(
    `select c.oid::integer, c.oid::regclass::text as name, case c.relkind when 'i' then 'i' else 'r' end as kind
     from pg_catalog.pg_class c
     left join pg_catalog.pg_index i on i.indexrelid = c.oid
     where
       c.relpersistence = 'p'
       and (
         c.relkind in ('r', 'm', 't')
         or (c.relkind = 'i' and i.indisvalid and c.relam = (select oid from pg_catalog.pg_am where amname = 'btree'))
       )`,
  );
  for (const [index, { oid, name, kind }] of relations.entries()) {
    signal.throwIfAborted();
    onProgress({
      step: "Checking tables and indexes",
      done: index,
      total: relations.length,
      unit: "relations",
    });
    const fault = await faultOf(client, oid, kind);
    if (fault) throw new PlinthError("BACKUP_DAMAGED", `The restored ${name} is damaged: ${fault}`);
  }
  const indexes = relations.filter(({ kind }) => kind === "i").length;
  return `No table or index is damaged (tables: ${relations.length - indexes}, indexes: ${indexes}).`;
}

async function faultOf(client: pg.Client, oid: number, kind: "r" | "i"): Promise<string | undefined> {
  try {
    if (kind === "i") {
      await client.query("select pg_catalog.bt_index_check($1::oid::regclass, true)", [oid]);
      return undefined;
    }
    const { rows } = await client.query<{ msg: string }>(
      "select msg from pg_catalog.verify_heapam($1::oid::regclass) limit 1",
      [oid],
    );
    return rows[0]?.msg;
  } catch (error) {
    // data_corrupted, index_corrupted
    if (/^XX/.test((error as pg.DatabaseError).code ?? "")) return (error as Error).message;
    throw error;
  }
}
