import { quoted, type Source } from "./source.ts";

/**
 * Reads tables that have other names in the source, such as those with capitals in double quotes. The first name that exists counts.
 * Statements see the table under the name that they use.
 */
export function withSpellings(
  source: Source,
  spellings: Readonly<Record<string, readonly string[]>> | undefined,
): Source {
  if (spellings === undefined) return source;
  const found = new Map<string, string>();
  return {
    ...source,
    expression: (relation, quotedColumn, column) =>
      source.expression(found.get(relation) ?? relation, quotedColumn, column),
    async relations() {
      const relations = new Map([...found].map(([relation, name]) => [name, relation]));
      return (await source.relations()).map((name) => relations.get(name) ?? name);
    },
    async columnsOf(relation) {
      for (const name of [relation, ...(spellings[relation] ?? [])]) {
        const columns = await source.columnsOf(name);
        if (columns === undefined) continue;
        if (name !== relation) found.set(relation, name);
        return columns;
      }
      return undefined;
    },
    read: (sql, batchSize) =>
      source.read(
        sql.replace(/\b(from|join) "([^"]+)"/g, (same, word: string, relation: string) => {
          const name = found.get(relation);
          return name === undefined ? same : `${word} ${quoted(name)} as ${quoted(relation)}`;
        }),
        batchSize,
      ),
  };
}
