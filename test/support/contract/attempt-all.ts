import type pg from "pg";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import type { TestDatabase } from "../test-database.ts";
import { readActors, sqlActors } from "./actors.ts";
import { prepareAttempts } from "./attempt.ts";
import { readRelations } from "./catalogue.ts";
import type { Cell } from "./cells.ts";
import { attemptFunctions, readFunctions } from "./functions.ts";
import { attemptRelation } from "./relations.ts";

/** Names as SQL writes them: `llm.chats`, `llm.fork_chat(uuid,text)`. Without `only`, everything is tried. */
export interface Only {
  readonly relations?: readonly string[];
  readonly functions?: readonly string[];
}

/** Tries what an open transaction allows over SQL, and leaves it as it was. */
export interface SqlContract {
  attempt(only?: Only): Promise<readonly Cell[]>;
}

/**
 * Prepares attempts in a transaction of the administrator, whose database `seedContract` has filled. Only changes of relations that
 * follow later need another call.
 */
export async function openSqlContract(client: pg.ClientBase, db: TestDatabase): Promise<SqlContract> {
  await prepareAttempts(client);
  const actors = await sqlActors(client, db, await readActors(client));
  return {
    async attempt(only) {
      const relations = await readRelations(client, SCHEMAS);
      const around = { client, actors, relations: new Map(relations.map((each) => [each.name, each])) };
      const cells: Cell[] = [];
      for (const relation of relations)
        if (!only || only.relations?.includes(relation.name)) cells.push(...(await attemptRelation(around, relation)));
      if (!only || only.functions) {
        const functions = await readFunctions(client, SCHEMAS, only?.functions);
        cells.push(...(await attemptFunctions(client, actors, functions)));
      }
      return cells;
    },
  };
}
