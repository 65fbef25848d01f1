import type { Fault } from "./fault.ts";

export const VIEWS_AND_OTHER_OBJECTS: readonly Fault[] = [
  {
    title: "a view with its owner's rights",
    sql: "alter view billing.active_user_subscriptions set (security_invoker = false)",
    findings: [
      [
        "fail",
        "drift-structure",
        "view billing.active_user_subscriptions: expected options security_invoker=true, found security_invoker=false",
      ],
    ],
  },
  {
    title: "a view without a security barrier",
    sql: "alter view identity.profiles reset (security_barrier)",
    findings: [
      [
        "fail",
        "drift-structure",
        "view identity.profiles: expected options security_barrier=true, found none",
      ],
    ],
  },
  {
    title: "a view of other rows",
    sql: "create or replace view identity.profiles with (security_barrier) as select u.id, u.username, s.display_name, s.avatar_url, u.created_at from identity.users u left join identity.user_settings s on s.user_id = u.id",
    findings: [["fail", "drift-structure", "view identity.profiles: the definition differs"]],
  },
  {
    title: "a view of another column",
    sql: "create or replace view billing.current_model_prices with (security_invoker = true) as select model_id, currency, input_price_per_million_tokens, input_price_per_million_tokens as output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens from billing.model_prices p where tstzrange(effective_from, effective_to) @> now()",
    findings: [["fail", "drift-structure", "view billing.current_model_prices: the definition differs"]],
  },
  {
    title: "an added view that analysts may read",
    sql: "create view analytics.leak as select * from private.user_passwords; grant select on analytics.leak to :PLINTH_ANALYST",
    findings: [
      ["fail", "drift-access", "grant to plinth_analyst on analytics.leak: expected none, found select"],
      ["warn", "drift-extra", "view analytics.leak: not created by the migrations"],
    ],
  },
  {
    title: "a type with another attribute",
    sql: "alter type billing.token_balance add attribute more text",
    findings: [
      [
        "fail",
        "drift-structure",
        "type billing.token_balance: expected definition …ling.grant_balance[], found …ling.grant_balance[], more text",
      ],
    ],
  },
  {
    title: "a sequence with another step",
    sql: "alter sequence private.request_digests_id_seq increment by 10",
    findings: [
      [
        "fail",
        "drift-structure",
        "sequence private.request_digests_id_seq: expected sequence bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1, found bigint increment 10 minimum 1 maximum 9223372036854775807 start 1 cache 1",
      ],
    ],
  },
  {
    title: "another text search configuration",
    sql: "alter text search configuration plinth.english_words alter mapping for asciiword with simple",
    findings: [
      [
        "fail",
        "drift-structure",
        "text search configuration plinth.english_words: expected mapping …h_words; asciiword: plinth.english_words; email: simple; file: simple; float: si…, found …h_words; asciiword: simple; email: simple; file: simple; float: simple; host: si…",
      ],
    ],
  },
  {
    title: "an extension in a schema of Plinth",
    sql: "create extension citext schema plinth",
    findings: [["fail", "drift-extra", "extension citext: not created by the migrations"]],
  },
  {
    title: "an operator",
    sql: "create operator plinth.=== (leftarg = integer, rightarg = integer, function = int4eq)",
    findings: [
      ["fail", "drift-extra", "operator plinth.===(integer,integer): not created by the migrations"],
    ],
  },
  {
    title: "a cast",
    sql: "create cast (text as cidr) with inout as implicit",
    by: "a superuser",
    findings: [["fail", "drift-extra", "cast (text as cidr): not created by the migrations"]],
  },
  {
    title: "a publication",
    sql: "create publication spy for table identity.users",
    findings: [["warn", "drift-extra", "publication spy: not created by the migrations"]],
  },
];
