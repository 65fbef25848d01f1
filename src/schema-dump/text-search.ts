import { type Catalog, ofExtension, ownerStatement } from "./catalog.ts";
import { addTo, commentOn, firstSentence, paragraphs } from "./sql-text.ts";

interface TextSearchRow {
  schema: string;
  name: string;
  kind: "dictionary" | "configuration";
  owner: string;
  comment: string | null;
  definition: string;
  mappings: string[];
}

/** Dumps text search dictionaries, then configurations, by schema. */
export async function dumpTextSearch(catalog: Catalog): Promise<Map<string, string[]>> {
  const rows = await catalog.query<TextSearchRow>(`
    select
      n.nspname as schema,
      format('%I.%I', n.nspname, o.dictname) as name,
      'dictionary' as kind,
      o.dictowner::text as owner,
      obj_description(o.oid, 'pg_ts_dict') as comment,
      format('template = %I.%I', tn.nspname, t.tmplname) || coalesce(', ' || o.dictinitoption, '') as definition,
      '{}'::text[] as mappings,
      1 as rank
    from pg_ts_dict o
    join pg_namespace n on n.oid = o.dictnamespace
    join pg_ts_template t on t.oid = o.dicttemplate
    join pg_namespace tn on tn.oid = t.tmplnamespace
    where n.nspname = any ($1) and not exists (${ofExtension("pg_ts_dict", "o.oid")})
    union all
    select
      n.nspname,
      format('%I.%I', n.nspname, c.cfgname),
      'configuration',
      c.cfgowner::text,
      obj_description(c.oid, 'pg_ts_config'),
      format('parser = %I.%I', pn.nspname, p.prsname),
      array(
        select format('add mapping for %s with %s', string_agg(m.token, ', ' order by m.token collate "C"), m.dictionaries)
        from (
          select t.alias as token, string_agg(m.mapdict::regdictionary::text, ', ' order by m.mapseqno) as dictionaries
          from pg_ts_config_map m
          join ts_token_type(p.oid) t on t.tokid = m.maptokentype
          where m.mapcfg = c.oid
          group by t.alias
        ) m
        group by m.dictionaries
        order by m.dictionaries collate "C"
      ),
      2
    from pg_ts_config c
    join pg_namespace n on n.oid = c.cfgnamespace
    join pg_ts_parser p on p.oid = c.cfgparser
    join pg_namespace pn on pn.oid = p.prsnamespace
    where n.nspname = any ($1) and not exists (${ofExtension("pg_ts_config", "c.oid")})
    order by rank, name
  `);
  const dump = new Map<string, string[]>();
  for (const row of rows) {
    const object = `text search ${row.kind} ${row.name}`;
    addTo(
      dump,
      row.schema,
      paragraphs([
        [
          ...firstSentence(row.comment),
          `create ${object} (${row.definition});`,
          ...row.mappings.map((mapping) => `alter ${object} ${mapping};`),
        ],
        [...ownerStatement(object, row.owner, catalog), ...commentOn(object, row.comment)],
      ]),
    );
  }
  return dump;
}
