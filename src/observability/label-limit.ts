/** Returns a function that keeps the number of a label's values bounded: further values become OTHER. */
export function createLabelLimit(most: number): (value: unknown) => string {
  const known = new Set<string>();
  return (value) => {
    if (typeof value !== "string" || value.length > 64) return "OTHER";
    if (known.has(value)) return value;
    if (known.size >= most) return "OTHER";
    known.add(value);
    return value;
  };
}
