import { type Catalogue, catalogueOf } from "./catalogue.ts";

/** The tables of months that are being archived, see private.archive_table. */
const OPEN_ARCHIVE = /^private\.archiving_/;

/** The parts of a table that no role reads rows through. */
const OWN_PARTS = ["table", "column", "constraint", "index", "trigger"];

/** Adds the months of logs that are being archived, so that no operator drops them as unknown. Grants and policies on them are not expected. */
export function withOpenArchives(expected: Catalogue, found: Catalogue): Catalogue {
  const open = [...found.values()].filter(
    ({ kind, name, on }) => OWN_PARTS.includes(kind) && OPEN_ARCHIVE.test(on ?? name),
  );
  return new Map([...expected, ...catalogueOf(open)]);
}
