import { type Catalog, ofExtension, ownerStatement } from "./catalog.ts";
import { ACL_KINDS, type AclKind, type AclRow, aclColumns, privilegeStatements } from "./privileges.ts";
import { addTo, commentOn, firstSentence, literal, lowerCaseKeywords, paragraphs } from "./sql-text.ts";

interface TypeRow extends AclRow {
  schema: string;
  name: string;
  owner: string;
  kind: string;
  comment: string | null;
  labels: string[];
  attributes: string[];
  base: string | null;
  constraints: string[];
  constraintComments: { name: string; comment: string }[];
  subtype: string | null;
}

/** Dumps enumerations, domains, composite and range types by schema, then sequences that no column owns. */
export async function dumpTypes(catalog: Catalog): Promise<Map<string, string[]>> {
  const types = await catalog.query<TypeRow>(`
    select
      n.nspname as schema,
      format('%I.%I', n.nspname, t.typname) as name,
      t.typowner::text as owner,
      t.typtype as kind,
      coalesce(obj_description(t.oid, 'pg_type'), obj_description(t.typrelid, 'pg_class')) as comment,
      array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels,
      array(
        select format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
        from pg_attribute a
        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
      ) as attributes,
      case when t.typtype = 'd' then
        format_type(t.typbasetype, t.typtypmod)
          || coalesce(' default ' || t.typdefault, '')
          || case when t.typnotnull then ' not null' else '' end
      end as base,
      array(
        select format('constraint %I %s', k.conname, pg_get_constraintdef(k.oid, true))
        from pg_constraint k
        where k.contypid = t.oid and k.contype = 'c'
        order by k.conname collate "C"
      ) as constraints,
      (
        select coalesce(json_agg(json_build_object('name', format('%I', k.conname), 'comment', d.description)
          order by k.conname collate "C"), '[]')
        from pg_constraint k
        join pg_description d on d.objoid = k.oid and d.classoid = 'pg_constraint'::regclass
        where k.contypid = t.oid
      ) as "constraintComments",
      (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid) as subtype,
      ${aclColumns("t.typacl", "t.typowner", "type")}
    from pg_type t
    join pg_namespace n on n.oid = t.typnamespace
    left join pg_class c on c.oid = t.typrelid
    where n.nspname = any ($1)
      and (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c')
      and not exists (${ofExtension("pg_type", "t.oid")})
    order by n.nspname collate "C", t.typname collate "C"
  `);
  const dump = new Map<string, string[]>();
  for (const type of types) {
    const word = type.kind === "d" ? "domain" : "type";
    addTo(
      dump,
      type.schema,
      paragraphs([
        [...firstSentence(type.comment), `create ${word} ${type.name} as ${describeType(type)};`],
        [
          ...describeRights(type, word, "type", catalog),
          ...type.constraintComments.flatMap((each) =>
            commentOn(`constraint ${each.name} on domain ${type.name}`, each.comment),
          ),
        ],
      ]),
    );
  }
  for (const sequence of await readSequences(catalog))
    addTo(
      dump,
      sequence.schema,
      paragraphs([
        [...firstSentence(sequence.comment), `create sequence ${sequence.name} ${sequence.definition};`],
        describeRights(sequence, "sequence", "sequence", catalog),
      ]),
    );
  return dump;
}

function describeRights(
  row: AclRow & { name: string; owner: string; comment: string | null },
  word: string,
  kind: AclKind,
  catalog: Catalog,
): string[] {
  return [
    ...ownerStatement(`${word} ${row.name}`, row.owner, catalog),
    ...commentOn(`${word} ${row.name}`, row.comment),
    ...privilegeStatements(ACL_KINDS[kind].word + row.name, row, catalog.roles),
  ];
}

function describeType(type: TypeRow): string {
  switch (type.kind) {
    case "e":
      return `enum (${type.labels.map(literal).join(", ")})`;
    case "d":
      return lowerCaseKeywords([type.base!, ...type.constraints].join("\n  "));
    case "r":
      return `range (subtype = ${type.subtype})`;
    default:
      return `(\n${type.attributes.map((attribute) => `  ${attribute}`).join(",\n")}\n)`;
  }
}

interface SequenceRow extends AclRow {
  schema: string;
  name: string;
  owner: string;
  comment: string | null;
  definition: string;
}

/** Reads all sequences except those of identity columns, which are part of their table. */
function readSequences(catalog: Catalog): Promise<SequenceRow[]> {
  return catalog.query<SequenceRow>(`
    select
      n.nspname as schema,
      format('%I.%I', n.nspname, c.relname) as name,
      c.relowner::text as owner,
      obj_description(c.oid, 'pg_class') as comment,
      format(
        'as %s increment by %s minvalue %s maxvalue %s start with %s cache %s%s',
        format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
        case when s.seqcycle then ' cycle' else '' end
      ) as definition,
      ${aclColumns("c.relacl", "c.relowner", "sequence")}
    from pg_sequence s
    join pg_class c on c.oid = s.seqrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any ($1)
      and not exists (
        select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'e')
      )
    order by n.nspname collate "C", c.relname collate "C"
  `);
}
