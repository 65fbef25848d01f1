/** Shortens types, also in a signature, to their common names: `timestamptz` for `timestamp with time zone`. */
export function shortType(type: string): string {
  return type
    .replaceAll("timestamp with time zone", "timestamptz")
    .replaceAll("character varying", "varchar")
    .replaceAll("double precision", "float8");
}
