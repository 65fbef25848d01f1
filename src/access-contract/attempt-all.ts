import type pg from "pg";
import { SCHEMAS } from "../database/schemas.ts";
import type { OnProgress } from "../support/progress.ts";
import { type Actor, sqlActors } from "./actors.ts";
import { prepareAttempts } from "./attempt.ts";
import { readRelations } from "./catalogue.ts";
import type { Cell } from "./cells.ts";
import { attemptFunctions, readFunctions } from "./functions.ts";
import { attemptRelation } from "./relations.ts";

/** Names as SQL writes them: `llm.chats`, `llm.fork_chat(uuid,text)`. Without `only`, everything is tried. */
interface Only {
  readonly relations?: readonly string[];
  readonly functions?: readonly string[];
}

/** Tries what an open transaction allows over SQL, and leaves it as it was. */
interface SqlContract {
  attempt(only?: Only, onProgress?: OnProgress): Promise<readonly Cell[]>;
}

/** A database whose objects are tried, with the actors' rows in it. */
export interface TriedDatabase {
  readonly rolePrefix: string;
  readonly adminIsSuperuser: boolean;
  readonly actors: readonly Actor[];
  readonly schemas: readonly string[];
}

/**
 * Prepares attempts in a transaction of the administrator. Grants, policies and bodies of functions may change afterwards; tables,
 * columns and new functions need another call.
 */
export async function openSqlContract(client: pg.ClientBase, tried: TriedDatabase): Promise<SqlContract> {
  await prepareAttempts(client);
  const actors = await sqlActors(client, tried, tried.actors);
  const relations = await readRelations(client, tried.schemas);
  // An application's rows belong to users through Plinth's tables too.
  const all = await readRelations(client, [...new Set([...SCHEMAS, ...tried.schemas])]);
  const functions = await readFunctions(client, tried.schemas);
  const around = { client, actors, relations: new Map(all.map((each) => [each.name, each])) };
  const chosen = <T extends { name: string }>(
    all: readonly T[],
    names: readonly string[] | undefined,
    isAll: boolean,
  ) => (isAll ? all : all.filter(({ name }) => names?.includes(name)));
  return {
    async attempt(only, onProgress) {
      const cells: Cell[] = [];
      const tables = chosen(relations, only?.relations, !only);
      for (const [index, relation] of tables.entries()) {
        onProgress?.({ step: "Trying each access", done: index, total: tables.length, unit: "tables" });
        cells.push(...(await attemptRelation(around, relation)));
      }
      onProgress?.({ step: "Trying the functions" });
      cells.push(...(await attemptFunctions(client, actors, chosen(functions, only?.functions, !only))));
      return cells;
    },
  };
}
