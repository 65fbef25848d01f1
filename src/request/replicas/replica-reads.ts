import { DatabaseError, type Pool } from "pg";
import type { Preparation } from "../pg-internals/preparations.ts";
import { isTransient } from "../public-error.ts";
import { Snapshot } from "../snapshot.ts";
import { runStatement, type SendStatement, type TransactionSettings } from "../transaction.ts";
import { isNotReplayed, type Position, replayedGuard } from "./positions.ts";

/**
 * SQLSTATEs that the primary would return too: of values, objects, privileges, limits, and those that functions raise. A statement
 * that is too slow (57014) is among them, because the primary must not spend the same time on it again.
 */
const OF_THE_STATEMENT = /^(2[0-4]|3[89]|42|44|54|57014|P0|PL)/;

/** SQLSTATEs of a statement that no standby can run: it would write, assign a transaction id, or take a lock of a writer. */
const ONLY_ON_PRIMARY = /^(25006|0A000|55000|XX000)/;

/** SQLSTATEs of a replica that no other read can use either. */
const OF_THE_REPLICA = /^(08|28|3D|53|57P|58|XX00[12])/;

/** The statements of one query on a replica, and the first failure that the primary would not have had. */
export class ReplicaReads {
  failure: unknown;
  readonly #pool: Pool;
  readonly #guard: Preparation;

  /** @param position each of its connections must have replayed */
  constructor(pool: Pool, position: Position) {
    this.#pool = pool;
    this.#guard = replayedGuard(position);
  }

  readonly send: SendStatement = async (settings, statement) => {
    try {
      return await runStatement(this.#pool, settings, statement, this.#guard);
    } catch (error) {
      this.#note(error);
      throw error;
    }
  };

  openSnapshot(settings: TransactionSettings): Snapshot {
    return new Snapshot(this.#pool, settings, {
      guard: this.#guard,
      onFailure: (error) => this.#note(error),
    });
  }

  #note(error: unknown): void {
    if (isNotReplayed(error) || !OF_THE_STATEMENT.test(sqlStateOf(error))) this.failure ??= error;
  }
}

export function needsPrimary(error: unknown): boolean {
  return ONLY_ON_PRIMARY.test(sqlStateOf(error));
}

/** Whether the connection is lost, was not opened, or the server rejects it. */
export function isOfReplica(error: unknown): boolean {
  return error instanceof DatabaseError ? OF_THE_REPLICA.test(sqlStateOf(error)) : isTransient(error);
}

/** Empty for an error that is not the server's. */
function sqlStateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? "") : "";
}
