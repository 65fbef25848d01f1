/**
 * Combines concurrent calls of `ask`: only one runs at a time, and each caller receives the answer of one that began after its
 * call. So an answer is never older than the call.
 */
export function askTogether<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  let next: Promise<T> | undefined;

  function start(): Promise<T> {
    next = undefined;
    const asked = ask();
    running = asked;
    const end = () => {
      if (!next) running = undefined;
    };
    asked.then(end, end);
    return asked;
  }

  return () => {
    if (!running) return start();
    next ??= running.then(start, start);
    return next;
  };
}
