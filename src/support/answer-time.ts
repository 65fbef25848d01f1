/**
 * Resolves when a whole number of periods has passed since the start of some work, so that the time of an answer does not reveal what
 * the work was. Work that takes longer than a period, as on a busy machine, waits for the end of the next one.
 * @param startedAt by `performance.now()`
 */
export function endOfPeriod(startedAt: number, periodMs: number): Promise<void> {
  const spentMs = performance.now() - startedAt;
  return new Promise((resolve) => setTimeout(resolve, periodMs - (spentMs % periodMs)));
}
