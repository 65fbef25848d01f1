/** Shortens types to their common names: `timestamptz` for `timestamp with time zone`. */
export function shortType(type: string): string {
  return type
    .replace("timestamp with time zone", "timestamptz")
    .replace("character varying", "varchar")
    .replace("double precision", "float8");
}
