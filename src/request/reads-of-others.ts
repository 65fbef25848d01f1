import { hash, randomBytes } from "node:crypto";
import type { RequestContext } from "./context.ts";
import type { CallPrivateFunction } from "./service-caller.ts";

/**
 * A statement that a permission may let read rows of other people returns a mark for each such row, in a column or in the JSON text
 * of its response: `<MARK>_<number of the relation>_<owner's id>`. The people of a total that are not named are one mark, with
 * `and<number>` instead of the id. Random, so that no stored text contains it, and different in each process. A mark has letters,
 * digits, `_` and `-` only, and so stays the same in JSON of any depth.
 */
const MARK = `read_${randomBytes(16).toString("hex")}`;

const FOUND = new RegExp(`${MARK}_(\\d+)_(?:([0-9a-f-]{36})|and(\\d+))?`, "g");
/** As a member of a compiled response's object, after other members. */
const MEMBER = new RegExp(`,"${MARK}_\\d+_[0-9a-f-]*":0`, "g");

const relations: string[] = [];

/** Returns the first part of the marks of a table or view; the owner's id follows it. */
export function markOf(relation: string): string {
  const known = relations.indexOf(relation);
  return `${MARK}_${known < 0 ? relations.push(relation) - 1 : known}_`;
}

/** Whether a statement returns marks at all. */
export const marksReads = (statement: string): boolean => statement.includes(MARK);

/** The number of rows by relation and owner; the owner is empty where a row belongs to no account. */
export class ReadsOfOthers {
  readonly #rows = new Map<string, Map<string, number>>();

  get isEmpty(): boolean {
    return this.#rows.size === 0;
  }

  /** Adds the marks in a text, or in the texts of a list of any depth. */
  add(value: unknown): void {
    if (typeof value === "string") {
      if (value.includes(MARK))
        for (const [, relation, owner = "", rest = 1] of value.matchAll(FOUND))
          this.#count(relations[Number(relation)]!, owner, Number(rest));
    } else if (Array.isArray(value)) for (const each of value) this.add(each);
  }

  #count(relation: string, owner: string, rows: number): void {
    const owners = this.#rows.get(relation) ?? new Map<string, number>();
    this.#rows.set(relation, owners.set(owner, (owners.get(owner) ?? 0) + rows));
  }

  toJSON(): unknown {
    return [...this.#rows].flatMap(([relation, owners]) =>
      [...owners].map(([owner, rows]) => ({ relation, user_id: owner || null, rows })),
    );
  }
}

/** Returns a compiled response without its marks. */
export const withoutMarks = (text: string): string => text.replace(MEMBER, "");

/**
 * Records the reads of one operation.
 * @param operation its name and the text of its document
 * @throws the error of the server; then the answer must not be sent
 */
export type RecordReads = (
  request: RequestContext,
  operation: { readonly name: string | undefined; readonly text: string | undefined },
  reads: ReadsOfOthers,
) => Promise<void>;

export function createReadRecorder(callPrivateFunction: CallPrivateFunction): RecordReads {
  return async (request, { name, text }, reads) => {
    await callPrivateFunction(request, "select private.record_personal_data_reads($1, $2, $3)", [
      JSON.stringify(reads),
      name ?? null,
      text === undefined ? null : hash("sha256", text),
    ]);
  };
}
