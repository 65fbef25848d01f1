import type { PgOrderSpec, PgResource, PgSelectQueryBuilder } from "@dataplan/pg";
import { sql } from "pg-sql2";
import { cursorCodec, placeOf } from "./cursor.ts";
import { cursorCondition } from "./cursor-condition.ts";
import { type OrderKey, orderKeys } from "./order-keys.ts";

export type ApplyOrders = ((queryBuilder: PgSelectQueryBuilder) => void) | null | undefined;
export type Cursor = string | null | undefined;

/**
 * Adds a unique order and the conditions of the cursors to a query, and returns the terms of the order.
 * @throws SafeError for a text that is not a cursor of this order
 */
export function addPaging(
  resource: PgResource,
  queryBuilder: PgSelectQueryBuilder,
  applyOrders: ApplyOrders,
  after: Cursor,
  before: Cursor,
): OrderKey[] {
  const keys = orderKeys(resource, queryBuilder.alias, ordersAsked(queryBuilder, applyOrders));
  for (const key of keys) {
    const { fragment, direction, nulls, nullable } = key;
    queryBuilder.orderBy({ fragment, codec: cursorCodec(key), direction, nullable, ...(nulls && { nulls }) });
  }
  queryBuilder.setOrderIsUnique();
  if (after != null) queryBuilder.where(cursorCondition(keys, placeOf(after, keys, "after"), "after"));
  if (before != null) queryBuilder.where(cursorCondition(keys, placeOf(before, keys, "before"), "before"));
  return keys;
}

/** Collects the orders that the values of `orderBy` would apply to the query, whichever plugin added them to the enum. */
function ordersAsked(queryBuilder: PgSelectQueryBuilder, applyOrders: ApplyOrders): PgOrderSpec[] {
  const asked: PgOrderSpec[] = [];
  applyOrders?.({
    ...queryBuilder,
    orderBy: (spec) => asked.push(typeof spec === "function" ? spec(sql as never) : spec),
    setOrderIsUnique() {},
  } as PgSelectQueryBuilder);
  return asked;
}
