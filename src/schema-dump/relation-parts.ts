import { type Catalog, RELATION_FILTER } from "./catalog.ts";
import { readPolicies } from "./policies.ts";
import { commentOn, lowerCaseKeywords } from "./sql-text.ts";

/** Statements that belong to a relation, by its oid. */
export interface RelationParts {
  /** Lines inside `create table (…)`. */
  constraints(relation: string): string[];
  indexes(relation: string): string[];
  statistics(relation: string): string[];
  rules(relation: string): string[];
  triggers(relation: string): string[];
  policies(relation: string): string[];
  /** Comments on constraints, indexes and triggers; a policy's comment follows the policy. */
  comments(relation: string): string[];
}

interface PartRow {
  relation: string;
  /** `constraint "x" on s.t`, for the comment. */
  target: string;
  definition: string;
  comment: string | null;
}

export async function readRelationParts(catalog: Catalog): Promise<RelationParts> {
  const constraints = group(await readConstraints(catalog));
  const indexes = group(await readIndexes(catalog));
  const statistics = group(await readStatistics(catalog));
  const rules = group(await readRules(catalog));
  const triggers = group(await readTriggers(catalog), breakTrigger);
  const policies = await readPolicies(catalog);
  const lines = (rows: Map<string, PartRow[]>) => (relation: string) =>
    (rows.get(relation) ?? []).map((row) => row.definition);
  return {
    constraints: lines(constraints),
    indexes: lines(indexes),
    statistics: lines(statistics),
    rules: lines(rules),
    triggers: lines(triggers),
    policies: (relation) => policies.get(relation) ?? [],
    comments: (relation) =>
      [constraints, indexes, statistics, rules, triggers]
        .flatMap((rows) => rows.get(relation) ?? [])
        .flatMap((row) => commentOn(row.target, row.comment)),
  };
}

function group(rows: PartRow[], layOut = (sql: string) => sql): Map<string, PartRow[]> {
  return Map.groupBy(
    rows.map((row) => ({ ...row, definition: layOut(lowerCaseKeywords(row.definition)) })),
    (row) => row.relation,
  );
}

/** Puts each clause on its own line. */
function breakTrigger(sql: string): string {
  return sql
    .replace(/ (before|after|instead of) /, "\n  $1 ")
    .replace(/ for each (row|statement) /, "\n  for each $1\n  ")
    .replace(/(\n {2}when .*) execute function /, "$1\n  execute function ");
}

/** Reads primary key, unique, check, exclude and foreign key constraints. `not null` is part of its column (a constraint only since 18). */
function readConstraints(catalog: Catalog): Promise<PartRow[]> {
  return catalog.query<PartRow>(`
    select
      part.relation::text,
      format('constraint %I on %s', part.conname, part.relation::regclass) as target,
      format('  constraint %I %s', part.conname, pg_get_constraintdef(part.oid, true)) as definition,
      obj_description(part.oid, 'pg_constraint') as comment
    from (select conrelid as relation, * from pg_constraint) part
    ${RELATION_FILTER}
      and part.contype in ('p', 'u', 'c', 'x', 'f')
      and part.conparentid = 0
    order by position(part.contype::text in 'pucxf'), part.conname collate "C"
  `);
}

/** Reads indexes that do not belong to a constraint. Those of a partitioned table are printed without ONLY, as they were written. */
function readIndexes(catalog: Catalog): Promise<PartRow[]> {
  return catalog.query<PartRow>(`
    select
      part.relation::text,
      format('index %s', part.indexrelid::regclass) as target,
      replace(pg_get_indexdef(part.indexrelid), ' ON ONLY ', ' ON ')
        || case when part.indisvalid then ';' else '; -- invalid' end as definition,
      obj_description(part.indexrelid, 'pg_class') as comment
    from (select indrelid as relation, * from pg_index) part
    ${RELATION_FILTER}
      and not exists (
        select from pg_constraint k where k.conindid = part.indexrelid and k.contype in ('p', 'u', 'x')
      )
    order by part.indexrelid::regclass::text collate "C"
  `);
}

function readStatistics(catalog: Catalog): Promise<PartRow[]> {
  return catalog.query<PartRow>(`
    select
      part.relation::text,
      format('statistics %s.%I', part.stxnamespace::regnamespace, part.stxname) as target,
      pg_get_statisticsobjdef(part.oid) || ';' as definition,
      obj_description(part.oid, 'pg_statistic_ext') as comment
    from (select stxrelid as relation, * from pg_statistic_ext) part
    ${RELATION_FILTER}
    order by part.stxname collate "C"
  `);
}

function readRules(catalog: Catalog): Promise<PartRow[]> {
  return catalog.query<PartRow>(`
    select
      part.relation::text,
      format('rule %I on %s', part.rulename, part.relation::regclass) as target,
      pg_get_ruledef(part.oid, true) as definition,
      obj_description(part.oid, 'pg_rewrite') as comment
    from (select ev_class as relation, * from pg_rewrite) part
    ${RELATION_FILTER}
      and part.rulename <> '_RETURN'
    order by part.rulename collate "C"
  `);
}

function readTriggers(catalog: Catalog): Promise<PartRow[]> {
  return catalog.query<PartRow>(`
    select
      part.relation::text,
      format('trigger %I on %s', part.tgname, part.relation::regclass) as target,
      pg_get_triggerdef(part.oid, true)
        || case part.tgenabled when 'O' then ';' else format('; -- enabled: %s', part.tgenabled) end as definition,
      obj_description(part.oid, 'pg_trigger') as comment
    from (select tgrelid as relation, * from pg_trigger) part
    ${RELATION_FILTER}
      and not part.tgisinternal
    order by part.tgname collate "C"
  `);
}
