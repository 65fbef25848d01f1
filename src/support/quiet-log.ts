/**
 * Logs an error, then suppresses and counts the same errors for a while. Each queue polls every two seconds, so an hour without
 * the database would otherwise log thousands of errors.
 */
export function quietly<E extends Error & { code?: string }>(
  log: (error: E, repeats: number) => void,
  quietMs = 30_000,
): (error: E) => void {
  const seen = new Map<string, { at: number; repeats: number }>();
  return (error) => {
    const kind = error.code ?? error.name;
    const last = seen.get(kind);
    const now = performance.now();
    if (last && now - last.at < quietMs) {
      last.repeats += 1;
      return;
    }
    seen.set(kind, { at: now, repeats: 0 });
    log(error, last?.repeats ?? 0);
  };
}
