import { type SQL, sql } from "pg-sql2";
import { cursorSql } from "../paging/cursor.ts";
import type { OrderKey } from "../paging/order-keys.ts";
import { NotCompilable, type PagePart } from "./field-source.ts";
import { concatenated, type JsonText, listOf, nullable, quoted } from "./json-text.ts";
import type { Bounds } from "./page-bounds.ts";
import type { OrderTerm } from "./query-parts.ts";

interface PageOptions extends Bounds {
  readonly keys: readonly OrderKey[];
  readonly orders: readonly OrderTerm[];
  /** Whether the page is asked about its place in the list. */
  readonly isNumbered: boolean;
}

/**
 * A page of a list. The inner query returns its rows, each with the selected values; the outer query returns their lists, and what
 * follows from their number:
 *
 *   select '{"nodes":[' || string_agg(page.value0, ',') || ']}' from (select … as value0 from … order by … limit …) page
 *
 * A page that is numbered has one row more, which shows whether there are others.
 */
export class Page {
  readonly #options: PageOptions;
  readonly #isNumbered: boolean;
  readonly #values: SQL[] = [];
  readonly #page = sql.identifier(Symbol("page"));
  #cursor: JsonText | undefined;
  /** Whether an expression needs the rows; one without them would have a value for each row instead of one for all. */
  isAsked = false;

  constructor(options: PageOptions) {
    this.#options = options;
    this.#isNumbered = options.isNumbered || options.isFromEnd;
  }

  /** The JSON list of a value of each row. */
  list(value: JsonText): JsonText {
    const column = this.#add(concatenated(value));
    return listOf(
      this.#isNumbered
        ? sql`string_agg(${column}, ',' order by ${this.#place}) filter (where ${this.#isOnPage})`
        : sql`string_agg(${column}, ',')`,
    );
  }

  /** A row's cursor, for a value of its list. */
  get cursor(): JsonText {
    this.#cursor ??= quoted(cursorSql(this.#options.keys));
    return this.#cursor;
  }

  /** A field of the page info. */
  info(part: PagePart): JsonText {
    const { limit, offset, isFromEnd } = this.#options;
    switch (part) {
      case "hasNextPage":
        return isFromEnd ? ["false"] : this.#hasMore();
      case "hasPreviousPage":
        return isFromEnd ? this.#hasMore() : [String(limit > 0 && offset > 0)];
      case "startCursor":
        return this.#end(sql`asc`);
      case "endCursor":
        return this.#end(sql`desc`);
      default:
        throw new NotCompilable(`${part} is not a part of a page info.`);
    }
  }

  /** Returns the query for an expression over this page. @param from the rest of the inner query up to its order */
  query(json: JsonText, from: SQL): JsonText {
    if (!this.isAsked) return json;
    const { limit, offset } = this.#options;
    const columns = this.#values.map((value, i) => sql`${value} as ${sql.identifier(`value${i}`)}`);
    const rows = sql`select ${sql.join(columns, ", ")} from ${from} order by ${this.#order} limit ${sql.literal(
      limit + (this.#isNumbered ? 1 : 0),
    )}${offset > 0 ? sql` offset ${sql.literal(offset)}` : sql.blank}`;
    const inner = sql.identifier(Symbol("rows"));
    // Numbered outside, because a window function sees all rows before they are ordered and limited.
    const page = this.#isNumbered
      ? sql`select ${inner}.*, row_number() over () as ${sql.identifier("number")} from (${rows}) as ${inner}`
      : rows;
    return [sql`(select ${concatenated(json)} from (${page}) as ${this.#page})`];
  }

  #hasMore(): JsonText {
    const { limit } = this.#options;
    if (limit === 0) return ["false"];
    this.isAsked = true;
    return [sql`(count(*) > ${sql.literal(limit)})::text`];
  }

  #add(value: SQL): SQL {
    this.isAsked = true;
    const column = sql.identifier(`value${this.#values.push(value) - 1}`);
    return sql`${this.#page}.${column}`;
  }

  /** The first or last cursor of the page. */
  #end(direction: SQL): JsonText {
    const cursor = this.#add(concatenated(this.cursor));
    const cursors = sql`array_agg(${cursor} order by ${this.#place} ${direction})`;
    return nullable([sql`(${cursors} filter (where ${this.#isOnPage}))[1]`]);
  }

  get #number(): SQL {
    return sql`${this.#page}.${sql.identifier("number")}`;
  }

  /** Grows along the list. */
  get #place(): SQL {
    return this.#options.isFromEnd ? sql`-${this.#number}` : this.#number;
  }

  get #isOnPage(): SQL {
    return sql`${this.#number} <= ${sql.literal(this.#options.limit)}`;
  }

  get #order(): SQL {
    const { orders, isFromEnd } = this.#options;
    const terms = orders.map(({ fragment, direction, nulls }) => {
      const ascending = (direction === "ASC") !== isFromEnd;
      const nullsFirst = (nulls === "FIRST") !== isFromEnd;
      const rest = nulls ? (nullsFirst ? sql` nulls first` : sql` nulls last`) : sql.blank;
      return sql`${fragment} ${ascending ? sql`asc` : sql`desc`}${rest}`;
    });
    return sql.join(terms, ", ");
  }
}
