import { createHash } from "node:crypto";
import { isObject } from "../../../support/is-object.ts";
import { type AnyStep, defineStep } from "../mapping.ts";
import { optionalRef } from "../references.ts";
import { createLosses, fitted } from "./text.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** As the compatibility schema makes it of the id of a token that is no UUID. */
const uuidOf = (text: string): string =>
  createHash("md5")
    .update(text)
    .digest("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** Tokens that are revoked and still valid. Plinth would not accept them anyway: they are signed with another key. */
export const tokensStep: AnyStep = defineStep({
  relation: "token_blacklist",
  key: ["id"],
  columns: { id: "id", jti: "text", user_id: "id?", expires_at: "time", created_at: "time?" },
  targets: [
    {
      // The person of a token is in plinth.external_ids.
      sql: `with item as (
          select e.n, plinth.uuid_v7() as id, v.subject_id, v.expires_at, coalesce(v.created_at, now()) as created_at
          from jsonb_to_recordset($1::jsonb) e (n integer, values jsonb)
          cross join lateral jsonb_populate_record(null::private.token_blacklist, e.values) v
        ),
        stored as (
          insert into private.token_blacklist (id, kind, subject_id, reason, expires_at, created_at)
          select i.id, 'token', i.subject_id, 'imported', i.expires_at, i.created_at from item i
        )
        select i.n, i.id as row_id from item i`,
    },
  ],
  map(row, _prepared, { rowId }) {
    if (rowId === undefined && Date.parse(row.expires_at!) <= Date.now()) return { omitted: "has expired" };
    const { losses, lose } = createLosses();
    if (!UUID.test(row.jti!)) lose("jti", "is not a UUID and was replaced by one derived from it");
    return {
      values: [
        {
          user_id: optionalRef("users", row.user_id),
          subject_id: UUID.test(row.jti!) ? row.jti!.toLowerCase() : uuidOf(row.jti!),
          expires_at: row.expires_at,
          created_at: row.created_at,
        },
      ],
      losses,
    };
  },
});

const ERROR = `
  from jsonb_to_recordset($1::jsonb) e (n integer, values jsonb, row_id uuid)
  cross join lateral jsonb_populate_record(null::security.error_logs, e.values) v`;

/** Errors as young as error logs are kept. */
export const errorsStep: AnyStep = defineStep({
  relation: "error_logs",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id?",
    error_type: "text",
    error_message: "text?",
    context: "json?",
    created_at: "time",
  },
  targets: [
    {
      sql: `with item as (select e.n, plinth.uuid_v7() as row_id, v.* ${ERROR}),
        stored as (
          insert into security.error_logs (id, user_id, message, error_code, context, source, created_at)
          select i.row_id, i.user_id, i.message, i.error_code, i.context, 'socializer', i.created_at from item i
        )
        select i.n, i.row_id from item i`,
      check: `select e.n ${ERROR}
        left join security.error_logs l on l.id = e.row_id
        where (l.user_id, l.message, l.error_code, l.context, l.created_at)
          is distinct from (v.user_id, v.message, v.error_code, v.context, v.created_at)`,
    },
  ],
  async prepare(_rows, { client }) {
    const { rows } = await client.query<{ since: Date | null }>(
      "select private.kept_since('security.error_logs') as since",
    );
    return rows[0]!.since;
  },
  map(row, since: Date | null, { rowId }) {
    if (rowId === undefined && since !== null && Date.parse(row.created_at!) < since.getTime())
      return { omitted: "is older than the retention of error logs" };
    const { losses, lose } = createLosses();
    if (row.context !== null && !isObject(row.context)) lose("context", "must be a JSON object");
    const message = row.error_message ?? "";
    if (message.length > 1000) lose("error_message", "was shortened to 1000 characters");
    return {
      values: [
        {
          user_id: optionalRef("users", row.user_id),
          message: message.slice(0, 1000),
          error_code: fitted(row.error_type || "Error", 100, "error_type", lose),
          context: isObject(row.context) ? row.context : {},
          created_at: row.created_at,
        },
      ],
      losses,
    };
  },
});
